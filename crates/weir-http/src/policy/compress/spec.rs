use weir_config::{Code, Key, KindRow, Node, Object, Section, Shape};

use super::{Coding, CompressPlan, Levels, MediaPattern, media};
use crate::policy::PolicyPlan;
use crate::policy::registry::PolicyKind;
use crate::spec::Scope;

pub(crate) const KIND: PolicyKind = PolicyKind {
    row: KindRow {
        name: "compress",
        doc: "Compresses answers for clients that accept it.",
        shape: Shape::Object(&COMPRESS),
    },
    decode,
};

static COMPRESS: Object = Object::new(
    "compress",
    "Compresses answers for clients that accept it: by zstd, brotli or gzip, in pieces as they come. Left alone: what is \
     encoded already, parts of a body, `Cache-Control: no-transform`, event streams unless `types` names them, and \
     bodies with a digest. `Vary: Accept-Encoding` is added and strong ETags become weak.",
    &[
        Key::new(
            "codings",
            Shape::OneOrMany(&Shape::Enum(&["zstd", "br", "gzip"])),
            "Which, the preferred one first; the client's own weights go before. `zstd`, `br`, `gzip` by default.",
        ),
        Key::new(
            "min_bytes",
            Shape::Size { min: 0, max: 1 << 30 },
            "The shortest body that is compressed; one whose length is not known is.",
        )
        .default("1KiB"),
        Key::new(
            "types",
            Shape::OneOrMany(&Shape::Text),
            "Media types, `text/*` or `application/*+json`, in place of those that are compressed by default: text, JSON, \
             JavaScript, XML, SVG, WebAssembly, plain fonts and bitmaps. `text/event-stream` only where it is named itself.",
        ),
        Key::new(
            "streams_max",
            Shape::Integer { min: 1, max: 1_000_000 },
            "Most answers that are compressed at a time, as each needs up to 3 MiB; further ones go out as they are.",
        )
        .default("512"),
        Key::new("levels", Shape::Object(&LEVELS), "How hard each coding tries."),
    ],
);

static LEVELS: Object = Object::new(
    "compress_levels",
    "How hard each coding tries; a higher level costs more time and memory.",
    &[
        Key::new("zstd", Shape::Integer { min: 1, max: 9 }, "Of zstd.").default("3"),
        Key::new("br", Shape::Integer { min: 0, max: 6 }, "Of brotli.").default("4"),
        Key::new("gzip", Shape::Integer { min: 1, max: 9 }, "Of gzip.").default("5"),
    ],
);

fn decode(node: &Node, scope: Scope) -> Option<PolicyPlan> {
    let section = COMPRESS.open(node, scope.problems);
    let levels = section.object("levels", &LEVELS, scope.problems);
    Some(PolicyPlan::Compress(CompressPlan {
        codings: codings(&section, scope),
        bytes_min: section.size("min_bytes"),
        types: types(&section, scope),
        streams_max: section.integer("streams_max"),
        levels: levels.map_or_else(Levels::default, |levels| Levels {
            zstd: levels.integer("zstd"),
            brotli: levels.integer("br"),
            gzip: levels.integer("gzip"),
        }),
    }))
}

fn codings(section: &Section, scope: Scope) -> Vec<Coding> {
    let Some(node) = section.node("codings") else {
        return Coding::NAMES.iter().map(|(_, coding)| *coding).collect();
    };
    let mut codings = Vec::new();
    for (text, _) in section.texts("codings") {
        let coding = Coding::NAMES.iter().find(|(name, _)| *name == text).map(|(_, coding)| *coding);
        if let Some(coding) = coding.filter(|coding| !codings.contains(coding)) {
            codings.push(coding);
        }
    }
    if section.list("codings").is_empty() {
        scope.refuse(Code::MISSING_KEY, node, "no coding is listed", "name one, or remove the policy");
    }
    codings
}

fn types(section: &Section, scope: Scope) -> Vec<MediaPattern> {
    if section.node("types").is_none() {
        return media::DEFAULT.iter().filter_map(|text| MediaPattern::parse(text)).collect();
    }
    let mut types = Vec::new();
    for (text, node) in section.texts("types") {
        match MediaPattern::parse(text) {
            Some(pattern) => types.push(pattern),
            None => {
                let message = format!("{} is no media type", node.describe());
                let help = "write for example `application/json`, `text/*` or `application/*+json`";
                scope.refuse(Code::MALFORMED, node, message, help);
            }
        }
    }
    types
}
