//! Values by key, sorted in a vector: a `BTreeMap` is 4 KB of code for each type, and what is in flight is little.

use std::borrow::Borrow;

#[derive(Debug)]
pub(crate) struct Table<K, V>(Vec<(K, V)>);

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Table<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(k, _)| k.borrow().cmp(key))
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    pub(crate) fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Gives its memory back, too.
    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn does_what_a_map_does() {
        let (mut table, mut map) = (Table::default(), BTreeMap::new());
        let mut number = 1_u32;
        for value in 0..2_000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = (number >> 24).to_string();
            if number & 3 == 0 {
                assert_eq!(table.remove(key.as_str()), map.remove(key.as_str()));
            } else {
                table.insert(key.clone(), value);
                map.insert(key.clone(), value);
            }
            assert_eq!(table.get(key.as_str()), map.get(key.as_str()));
            assert_eq!(table.contains_key(key.as_str()), map.contains_key(key.as_str()));
            assert_eq!(table.len(), map.len());
        }
        assert!(
            table.iter().eq(map.iter()) && table.keys().eq(map.keys()) && table.values().eq(map.values())
        );
        if let Some(value) = table.get_mut("7") {
            *value = 0;
        }
        assert!(table.get("7").is_none_or(|value| *value == 0));
        table.clear();
        assert_eq!(table.len(), 0);
    }
}
