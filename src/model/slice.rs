//! To whom a container of the commons belongs: `option slice '<member>/<slice>/<group>'`. Without slashes the option is a
//! label that the box's owner has given, which means nothing to the commons.

use super::name::Name;

/// Letters of an id.
const ID_LEN: usize = 16;
/// Most letters of a slice's name and of a group's.
const SLICE_MAX: usize = 12;
const GROUP_MAX: usize = 8;
/// Letters of the hash at the end of a container's name.
const HASH_LEN: usize = 6;

/// A group of a member's slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceGroup<'a> {
    /// The id of the member, whose key signs for the slice.
    pub member: &'a str,
    /// The slice, as its member calls it.
    pub slice: &'a str,
    /// The group in it.
    pub group: &'a str,
}

impl<'a> SliceGroup<'a> {
    /// Reads the option; None for a label, and for what is neither.
    pub fn parse(text: &'a str) -> Option<SliceGroup<'a>> {
        let mut parts = text.split('/');
        let (member, slice, group) = (parts.next()?, parts.next()?, parts.next()?);
        let good = is_id(member) && is_word(slice, SLICE_MAX) && is_word(group, GROUP_MAX);
        (good && parts.next().is_none()).then_some(SliceGroup { member, slice, group })
    }

    /// Whether a container of the group may be called so: `<slice>-<group>-<6 of a hash>`. What the hash is of, who makes
    /// names knows.
    pub fn may_be_called(self, name: &Name) -> bool {
        let rest = name.as_str().strip_prefix(self.slice).and_then(|rest| rest.strip_prefix('-'));
        let hash =
            rest.and_then(|rest| rest.strip_prefix(self.group)).and_then(|rest| rest.strip_prefix('-'));
        hash.is_some_and(|hash| hash.len() == HASH_LEN && is_word(hash, HASH_LEN))
    }
}

/// Whether `text` is written like the id of a member or of a box: base32 in lower case.
pub fn is_id(text: &str) -> bool {
    text.len() == ID_LEN && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

fn is_word(text: &str, most: usize) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty() && text.len() <= most && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: &str = "o6cgvbb4hsvzjf6g";

    #[test]
    fn a_group_of_a_slice_is_told_from_a_label() {
        let text = format!("{ANNA}/wiki/web");
        assert_eq!(SliceGroup::parse(&text), Some(SliceGroup { member: ANNA, slice: "wiki", group: "web" }));
        assert!(SliceGroup::parse(&format!("{ANNA}/123456789012/12345678")).is_some());
        for wrong in [
            "",
            "lab",
            "a/b",
            "//",
            ANNA,
            &format!("{ANNA}/wiki"),
            &format!("{ANNA}/wiki/"),
            &format!("{ANNA}//web"),
            &format!("{ANNA}/wiki/web/x"),
            &format!("{ANNA}/1234567890123/web"),
            &format!("{ANNA}/wiki/123456789"),
            &format!("{ANNA}/Wiki/web"),
            &format!("{ANNA}/a-b/web"),
            &format!("{ANNA}/wiki/we\nb"),
            "o6cgvbb4hsvzjf6/wiki/web",
            "O6CGVBB4HSVZJF6G/wiki/web",
            "o6cgvbb4hsvzjf61/wiki/web",
        ] {
            assert_eq!(SliceGroup::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_container_is_called_like_its_group() {
        let text = format!("{ANNA}/wiki/web");
        let group = SliceGroup::parse(&text).unwrap();
        let may = |name: &str| group.may_be_called(&Name::new(name).unwrap());
        assert!(may("wiki-web-ab12cd"));
        for name in
            ["wiki", "wiki-web", "wiki-web-ab12c", "wiki-web-ab12cde", "wiki-db-ab12cd", "wiki-web-a-b2cd"]
        {
            assert!(!may(name), "{name}");
        }
    }
}
