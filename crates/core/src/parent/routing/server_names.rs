//! Host names of TLS whose connections belong to the workers of another port. Pure, and without allocation once built.

use std::collections::{BTreeSet, HashMap};

/// The longest host name (RFC 1035).
const MAX_NAME: usize = 255;

/// The lanes of host names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerNames {
    /// In lower case.
    exact: HashMap<Box<[u8]>, u16>,
    /// The part after the asterisk, such as `.example.com`, in lower case.
    wildcards: HashMap<Box<[u8]>, u16>,
}

impl ServerNames {
    /// Adds the lane of a host name. `*.example.com` stands for every name with one more label, as in a certificate.
    pub fn insert(&mut self, name: &str, lane: u16) {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix('*') {
            Some(suffix) => self.wildcards.insert(suffix.as_bytes().into(), lane),
            None => self.exact.insert(name.into_bytes().into(), lane),
        };
    }

    /// Returns the lanes of all names, each once.
    #[must_use]
    pub fn lanes(&self) -> BTreeSet<u16> {
        self.exact.values().chain(self.wildcards.values()).copied().collect()
    }

    /// Returns the lane of a host name in any case: that of the name itself, or else that of its wildcard.
    #[must_use]
    pub fn lane_of(&self, name: &[u8]) -> Option<u16> {
        let mut lower = [0; MAX_NAME];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let exact = self.exact.get(&*lower);
        let label = lower.iter().position(|&byte| byte == b'.');
        let wildcard = || {
            label
                .filter(|&dot| dot > 0)
                .and_then(|dot| self.wildcards.get(&lower[dot..]))
        };
        exact.or_else(wildcard).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_comes_before_its_wildcard_which_stands_for_one_label() {
        let mut names = ServerNames::default();
        names.insert("*.Example.com", 1);
        names.insert("www.example.com", 2);
        let lane = |name: &str| names.lane_of(name.as_bytes());
        assert_eq!(lane("WWW.example.COM"), Some(2));
        assert_eq!(lane("api.example.com"), Some(1));
        for other in [
            "example.com",
            ".example.com",
            "a.b.example.com",
            "",
            "example.org",
            &"a".repeat(300),
        ] {
            assert_eq!(lane(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_name(name in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut names = ServerNames::default();
            names.insert("*.test", 1);
            let is_wildcard = name.len() <= MAX_NAME
                && name.len() > 5
                && name.to_ascii_lowercase().ends_with(b".test")
                && !name[..name.len() - 5].contains(&b'.');
            prop_assert_eq!(names.lane_of(&name).is_some(), is_wildcard);
        }
    }
}
