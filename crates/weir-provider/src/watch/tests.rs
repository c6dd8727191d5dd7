use std::fs;
use std::os::unix::fs::symlink;

use super::*;

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
async fn a_new_file_that_fits_a_pattern_is_told_and_the_same_bytes_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("a.yaml"), folder.path().join("b.yaml"));
    fs::write(&old, "a").unwrap();
    let watch = Watch::start([folder.path().join("*.yaml")], Log::discard()).unwrap();
    fs::write(&new, "b").unwrap();
    assert!(told(&watch).await);
    fs::write(&old, "a").unwrap();
    let quiet = tokio::time::timeout(QUIET * 4, watch.changed()).await;
    assert!(quiet.is_err(), "the same bytes are no change");
}
