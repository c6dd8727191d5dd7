use std::fs;
use std::os::unix::fs::symlink;

use weir_config::SourceReader as _;

use super::*;
use crate::RecordingReader;

const LIMIT: Duration = Duration::from_secs(20);

async fn told(watch: &Watch) -> bool {
    tokio::time::timeout(LIMIT, watch.changed()).await.is_ok()
}

#[tokio::test]
async fn a_file_written_or_renamed_over_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    fs::write(&file, "a").unwrap();
    let watch = Watch::start([file.clone()], Log::discard()).unwrap();
    fs::write(&file, "b").unwrap();
    assert!(told(&watch).await);
    fs::write(folder.path().join("new"), "c").unwrap();
    fs::rename(folder.path().join("new"), &file).unwrap();
    assert!(told(&watch).await);
}

#[tokio::test]
async fn a_swapped_link_above_the_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in [("v1", "a"), ("v2", "b")] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("weir.yaml"), text).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/weir.yaml", at("weir.yaml")).unwrap();
    let watch = Watch::start([at("weir.yaml")], Log::discard()).unwrap();
    symlink("v2", at("..tmp")).unwrap();
    fs::rename(at("..tmp"), at("..data")).unwrap();
    assert!(told(&watch).await);
}

#[tokio::test]
async fn a_new_file_that_fits_a_pattern_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "a").unwrap();
    let watch = Watch::start([folder.path().join("*.yaml")], Log::discard()).unwrap();
    fs::write(folder.path().join("b.yaml"), "b").unwrap();
    assert!(told(&watch).await);
}

#[tokio::test]
async fn a_folder_made_anew_is_watched_again() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("conf.d");
    let file = inner.join("a.yaml");
    fs::create_dir(&inner).unwrap();
    fs::write(&file, "a").unwrap();
    let watch = Watch::start([inner.join("*.yaml")], Log::discard()).unwrap();
    for text in ["b", "c"] {
        fs::remove_dir_all(&inner).unwrap();
        assert!(told(&watch).await, "gone before {text}");
        fs::create_dir(&inner).unwrap();
        fs::write(&file, text).unwrap();
        assert!(told(&watch).await, "back with {text}");
        fs::write(&file, format!("{text}{text}")).unwrap();
        assert!(told(&watch).await, "changed after {text}");
    }
}

#[tokio::test]
async fn a_change_between_the_reading_and_the_watching_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    for file in [&old, &new] {
        fs::write(file, "read").unwrap();
    }
    let read = |paths: &[&PathBuf]| {
        let reader = RecordingReader::default();
        paths.iter().for_each(|path| drop(reader.read(path)));
        reader.into_seen()
    };
    let seen = read(&[&old]);
    fs::write(&old, "changed before the start").unwrap();
    let watch = Watch::start_read([old.clone()], seen, Log::discard()).unwrap();
    assert!(told(&watch).await);
    let seen = read(&[&old, &new]);
    fs::write(&new, "changed before it was watched").unwrap();
    watch.set_read([old.clone(), new.clone()], seen);
    assert!(told(&watch).await);
}

/// A state as it is after its first look.
fn state(paths: &[&PathBuf]) -> State {
    let mut state = State::new(paths.iter().copied().cloned().collect(), Seen::default());
    assert!(!look(&mut state), "what is found at the start is no change");
    state
}

fn look(state: &mut State) -> bool {
    let generation = state.generation();
    let now = Seen::of(state.files());
    state.compare(now, generation)
}

fn two_files() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    (folder, a, b)
}

#[test]
fn the_same_bytes_are_no_change_and_a_change_is_told_once() {
    let (_folder, a, b) = two_files();
    let mut state = state(&[&a, &b]);
    fs::write(&a, "a").unwrap();
    assert!(!look(&mut state));
    fs::write(&a, "other").unwrap();
    assert!(look(&mut state));
    assert!(!look(&mut state));
    fs::remove_file(&b).unwrap();
    assert!(look(&mut state));
}

#[test]
fn other_paths_alone_are_no_change() {
    let (_folder, a, b) = two_files();
    let mut state = state(&[&a]);
    state.replace([a.clone(), b.clone()].into(), Seen::default());
    assert!(!look(&mut state));
    state.replace([b.clone()].into(), Seen::default());
    assert!(!look(&mut state));
    fs::write(&a, "nobody cares").unwrap();
    assert!(!look(&mut state));
}

#[test]
fn a_change_that_is_seen_together_with_other_paths_is_not_lost() {
    let (_folder, a, b) = two_files();
    let mut state = state(&[&a]);
    fs::write(&a, "changed").unwrap();
    state.replace([a.clone(), b].into(), Seen::default());
    assert!(look(&mut state));
}

#[test]
fn what_the_loader_has_read_itself_is_not_told_to_it() {
    let (_folder, a, b) = two_files();
    let mut state = state(&[&a]);
    fs::write(&a, "changed, and read by a reload that somebody asked for").unwrap();
    state.replace([a.clone()].into(), Seen::of([a.clone(), b.clone()]));
    assert!(!look(&mut state));
    assert!(!look(&mut state), "the second file was read too and goes on being watched");
    fs::write(&b, "a secret that was renewed").unwrap();
    assert!(look(&mut state));
}

#[test]
fn a_change_there_and_back_is_two_changes_whoever_read_what_was_between() {
    let (_folder, a, _) = two_files();
    let mut state = state(&[&a]);
    fs::write(&a, "1").unwrap();
    assert!(look(&mut state));
    fs::write(&a, "2").unwrap();
    state.replace([a.clone()].into(), Seen::of([a.clone()]));
    assert!(!look(&mut state));
    fs::write(&a, "1").unwrap();
    assert!(look(&mut state));
}

#[test]
fn a_loader_that_reads_under_another_name_is_told_once_and_not_for_ever() {
    let (folder, a, _) = two_files();
    let mut state = state(&[&a]);
    let other_name = folder.path().join(".").join("c.yaml");
    assert!({
        state.replace([a.clone()].into(), Seen::of([other_name.clone()]));
        look(&mut state)
    });
    state.replace([a.clone()].into(), Seen::of([other_name]));
    assert!(!look(&mut state));
}

#[test]
fn a_look_for_paths_that_were_replaced_meanwhile_tells_nothing() {
    let (_folder, a, b) = two_files();
    let mut state = state(&[&a]);
    let (now, generation) = (Seen::of(state.files()), state.generation());
    state.replace([b].into(), Seen::default());
    assert!(!state.compare(now, generation));
    assert!(!look(&mut state));
}

#[tokio::test]
async fn whatever_happens_in_a_folder_is_told_where_nothing_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("a.pem"), "a").unwrap();
    symlink(elsewhere.path().join("a.pem"), folder.path().join("a.pem")).unwrap();
    let watch = Watch::start_touches([folder.path().join("*")], Log::discard()).unwrap();
    assert!(told(&watch).await, "what changed before it is watched");
    fs::write(elsewhere.path().join("a.pem"), "a").unwrap();
    assert!(told(&watch).await, "the same bytes, behind a link");
    fs::write(folder.path().join("b.pem"), "b").unwrap();
    assert!(told(&watch).await);
    fs::remove_file(folder.path().join("b.pem")).unwrap();
    assert!(told(&watch).await);
}
