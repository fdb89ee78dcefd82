//! Reads the members of an object or the elements of an array. Stops at the first one over the limit.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::escapes::lone_surrogate;
use super::members::{Member, Members, half_a_pair, quote};

/// The members that were read so far.
pub(super) struct Reading<'a> {
    pub(super) members: Members<'a>,
    /// The name of the first unknown member over the limit. It ends the reading.
    pub(super) surplus: Option<String>,
    unknown_max: usize,
}

impl<'a> Reading<'a> {
    /// Reads an object that may have up to `unknown_max` unknown members.
    pub(super) fn new(unknown_max: usize) -> Self {
        Self { members: Members::default(), surplus: None, unknown_max }
    }

    /// Reads on after the first unknown member over the limit, only to find the members that the refusal names. Always an error.
    fn read_known<'de: 'a, M: MapAccess<'de>>(&mut self, mut map: M) -> Result<(), M::Error> {
        map.next_value::<IgnoredAny>()?;
        while let Some(known) = map.next_key_seed(KnownName)? {
            match known {
                Some(member) => {
                    let raw = map.next_value()?;
                    self.members.known[member as usize].get_or_insert(raw);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Err(M::Error::custom("too many members are not known"))
    }
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for &mut Reading<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for &mut Reading<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with key and value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut unknown = HashSet::new();
        while let Some(name) = map.next_key::<MemberName>()? {
            if let MemberName::Unknown(name) = &name
                && unknown.len() == self.unknown_max
                && !unknown.contains(name)
            {
                self.surplus = Some(name.clone());
                return self.read_known(map);
            }
            let raw: &RawValue = map.next_value()?;
            // The ops of a batch are checked one by one, later.
            if !matches!(name, MemberName::Known(Member::Ops)) && lone_surrogate(raw.get()) {
                return Err(M::Error::custom(half_a_pair(name.text())));
            }
            let twice = match name {
                MemberName::Known(member) => {
                    self.members.known[member as usize].replace(raw).map(|_| member.name().to_owned())
                }
                MemberName::Unknown(name) if unknown.contains(&name) => Some(name),
                MemberName::Unknown(name) => {
                    unknown.insert(name);
                    None
                }
            };
            if let Some(name) = twice {
                return Err(M::Error::custom(format!("member {} stands there twice", quote(&name))));
            }
        }
        Ok(())
    }
}

/// The elements of an array, up to the limit.
pub(super) struct Elements<'a> {
    pub(super) max: usize,
    pub(super) all: Vec<&'a RawValue>,
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for &mut Elements<'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for &mut Elements<'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element()? {
            if self.all.len() == self.max {
                return Err(A::Error::custom("too many elements"));
            }
            self.all.push(element);
        }
        Ok(())
    }
}

/// The name of a member. A known name needs no allocation.
enum MemberName {
    Known(Member),
    Unknown(String),
}

impl MemberName {
    fn text(&self) -> &str {
        match self {
            Self::Known(member) => member.name(),
            Self::Unknown(name) => name,
        }
    }
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = MemberName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E>(self, name: &str) -> Result<MemberName, E> {
                Ok(known(name).map_or_else(|| MemberName::Unknown(name.to_owned()), MemberName::Known))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Reads the name of a member without an allocation: `None` if it is not known.
struct KnownName;

impl<'de> DeserializeSeed<'de> for KnownName {
    type Value = Option<Member>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KnownName {
    type Value = Option<Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(known(name))
    }
}

fn known(name: &str) -> Option<Member> {
    Member::ALL.into_iter().find(|known| known.name() == name)
}
