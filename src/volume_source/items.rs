//! Items: which keys, at which paths, with which modes.
//!
//! All paths of a volume are judged together where that does not depend on what the objects hold.

use std::cmp::Ordering;
use std::collections::HashMap;

use livemount_engine::object::check_key;
use livemount_engine::path::RelPath;
use livemount_engine::spec::{Item, Mode};

use super::MAX_BYTES;
use super::elements::{Element, elements};
use super::error::{VolumeSourceFault, VolumeSourceFlaw};
use super::volume::has_only;
use crate::yaml::{Mapping, fields, scalar};

/// The paths that the items of a volume have told so far.
#[derive(Default)]
pub(super) struct Paths {
    /// Bytes of keys and paths: aliases can name one list of items often.
    spent: usize,
    /// As they were written, for those who compare them as the API does.
    written: Option<HashMap<String, usize>>,
    /// Those that are there whatever the objects hold, with the field and line of each.
    certain: Vec<(RelPath, String, usize)>,
}

impl Paths {
    /// From now on no path may be told twice.
    pub(super) fn refuse_duplicates(&mut self) {
        self.written = Some(HashMap::new());
    }

    /// The items of one source.
    pub(super) fn items(
        &mut self,
        source: &Mapping<'_>,
        own: &str,
        optional: bool,
    ) -> Result<Vec<Item>, VolumeSourceFlaw> {
        elements(source, "items", own)?
            .map(|element| self.item(&element?, optional))
            .collect()
    }

    fn item(&mut self, item: &Element<'_, '_>, optional: bool) -> Result<Item, VolumeSourceFlaw> {
        let Element { mapping, own, line } = item;
        has_only(mapping, &["key", "path", "mode"], own)?;
        let (key, at) = required(mapping, "key", own, *line)?;
        check_key(key).map_err(|why| {
            VolumeSourceFlaw::at(at, VolumeSourceFault::Key(why)).of(format!("{own}.key"))
        })?;
        Ok(Item {
            key: key.to_owned(),
            path: self.path(item, key, Some(key), !optional)?,
            mode: mode(mapping, "mode", own)?,
            divisor: None,
        })
    }

    /// The path of an item for this key; `told` is what an error may say of it. A certain one is
    /// there whatever the objects hold.
    pub(super) fn path(
        &mut self,
        Element { mapping, own, line }: &Element<'_, '_>,
        key: &str,
        told: Option<&str>,
        certain: bool,
    ) -> Result<RelPath, VolumeSourceFlaw> {
        let (written, line) = required(mapping, "path", own, *line)?;
        let field = format!("{own}.path");
        let path = RelPath::new(written).map_err(|why| {
            let key = told.map(str::to_owned);
            VolumeSourceFlaw::at(line, VolumeSourceFault::Path { key, why }).of(field.clone())
        })?;
        self.spent += 1 + key.len() + written.len();
        if self.spent > MAX_BYTES {
            return Err(VolumeSourceFlaw::of_all(VolumeSourceFault::TooMuch));
        }
        if let Some(all) = &mut self.written
            && let Some(first) = all.insert(written.to_owned(), line)
        {
            return Err(
                VolumeSourceFlaw::at(line, VolumeSourceFault::DuplicatePath(first)).of(field),
            );
        }
        if certain {
            self.certain.push((path.clone(), field, line));
        }
        Ok(path)
    }

    /// Refuses a path that would be a file and a folder at once.
    pub(super) fn lead_through_no_file(&mut self) -> Result<(), VolumeSourceFlaw> {
        // So sorted, what lies below a path follows it at once.
        self.certain.sort_by(|(a, ..), (b, ..)| by_names(a, b));
        for pair in self.certain.windows(2) {
            let [(file, _, first), (path, field, line)] = pair else {
                continue;
            };
            if path.is_below(file) {
                return Err(
                    VolumeSourceFlaw::at(*line, VolumeSourceFault::FileAndFolder(*first))
                        .of(field.as_str()),
                );
            }
        }
        Ok(())
    }
}

/// A string that has to be there and to have something in it, and its line.
pub(super) fn required<'t>(
    mapping: &'t Mapping<'_>,
    name: &'static str,
    own: &str,
    line: usize,
) -> Result<(&'t str, usize), VolumeSourceFlaw> {
    let told = fields::text(mapping, name, format!("{own}.{name}"))?;
    let told = told.filter(|(text, _)| !text.is_empty());
    told.ok_or_else(|| VolumeSourceFlaw::at(line, VolumeSourceFault::Missing(name)).of(own))
}

/// Orders by names and not by bytes, where `a-b` would stand between `a` and `a/b`.
fn by_names(a: &RelPath, b: &RelPath) -> Ordering {
    // A path holds no NUL.
    let low = |byte: u8| if byte == b'/' { 0 } else { byte };
    let [a, b] = [a, b].map(|path| path.as_str().bytes().map(low));
    a.cmp(b)
}

/// A mode, `0400` being octal as in YAML 1.1.
pub(super) fn mode(
    mapping: &Mapping<'_>,
    name: &'static str,
    own: &str,
) -> Result<Option<Mode>, VolumeSourceFlaw> {
    let field = format!("{own}.{name}");
    let Some((text, line)) = fields::number(mapping, name, field.clone())? else {
        return Ok(None);
    };
    let flaw = |fault| VolumeSourceFlaw::at(line, fault).of(field.clone());
    let bits = scalar::integer(text).ok_or_else(|| flaw(VolumeSourceFault::NotAMode))?;
    let mode = u32::try_from(bits)
        .ok()
        .and_then(|bits| Mode::new(bits).ok());
    mode.map(Some)
        .ok_or_else(|| flaw(VolumeSourceFault::ModeRange))
}
