//! Users and their passwords (RFC 7617), which are kept as bcrypt hashes.
//!
//! A hash of cost 12 takes a fifth of a second, so what was found of a password is remembered. Passwords are checked one by one on
//! a thread of their own, and after a wrong one the next check waits: guessing gets a tenth of a CPU.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::{Semaphore, oneshot};

use super::Denied;

/// Costs of a hash; each step takes twice as long. 16 takes some four seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;
/// Passwords that are remembered as right, and as many as wrong.
const REMEMBERED: usize = 64;
/// Checks that wait for their turn.
const MOST_WAITING: usize = 8;
/// After a wrong password, checks pause for so many times what it took.
const PAUSE: u32 = 9;

/// Names of users, with the hashes of their passwords.
#[derive(Default)]
pub struct Users {
    hashes: BTreeMap<String, String>,
    /// Checked for names that are no user's, so that these take as long.
    decoy: String,
}

impl Users {
    /// By their hashes.
    ///
    /// # Errors
    ///
    /// When one is no bcrypt hash, or takes too long; the message has the user and not the hash.
    pub fn new(hashes: BTreeMap<String, String>) -> Result<Self, String> {
        let mut highest = *COSTS.start();
        for (user, hash) in &hashes {
            let parts: HashParts = hash.parse().map_err(|_| {
                format!("{user}: not a bcrypt hash ($2a$, $2b$ or $2y$); `htpasswd -nBC 12 {user}` makes one")
            })?;
            let cost = parts.get_cost();
            if !COSTS.contains(&cost) {
                let (least, most) = (COSTS.start(), COSTS.end());
                return Err(format!("{user}: the hash has cost {cost}; {least} to {most} are allowed"));
            }
            highest = highest.max(cost);
        }
        // Of no password that anybody knows.
        let decoy = format!("$2b${highest:02}${}", ".".repeat(53));
        Ok(Self { hashes, decoy })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    fn check(&self, user: &str, password: &[u8]) -> bool {
        let hash = self.hashes.get(user);
        let is_right = bcrypt::verify(password, hash.unwrap_or(&self.decoy)).unwrap_or(false);
        is_right && hash.is_some()
    }
}

/// Checks passwords, and remembers what it found.
pub struct Passwords {
    /// Random, of this process: passwords are remembered by tags that tell nothing of them.
    key: Option<hmac::Key>,
    known: Arc<Mutex<Known>>,
    waiting: Semaphore,
    turn: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    right: VecDeque<[u8; 32]>,
    wrong: VecDeque<[u8; 32]>,
}

impl Passwords {
    /// Knows none yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            // Without random numbers nothing is remembered.
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok(),
            known: Arc::default(),
            waiting: Semaphore::new(MOST_WAITING),
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether a request with this header is from one of the users.
    ///
    /// # Errors
    ///
    /// When it is not, or too many are being checked.
    pub async fn admit(&self, users: &Arc<Users>, header: Option<&HeaderValue>) -> Result<(), Denied> {
        let (user, password) = header.and_then(credentials).ok_or(Denied::Password)?;
        let tag = self.tag(users, &user, &password);
        let result = |is_right| if is_right { Ok(()) } else { Err(Denied::Password) };
        if let Some(is_right) = tag.and_then(|tag| self.recall(&tag)) {
            return result(is_right);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| Denied::Busy)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| Denied::Busy)?;
        // Another request may have asked the same meanwhile.
        if let Some(is_right) = tag.and_then(|tag| self.recall(&tag)) {
            return result(is_right);
        }
        let (users, known) = (Arc::clone(users), Arc::clone(&self.known));
        let (said, answer) = oneshot::channel();
        // A task of its own, so that a client that goes away after a wrong password does not cut the pause short.
        tokio::spawn(async move {
            let check = move || {
                let begin = Instant::now();
                (users.check(&user, &password), begin.elapsed())
            };
            let Ok((is_right, took)) = tokio::task::spawn_blocking(check).await else { return };
            if let Some(tag) = tag {
                remember(&known, tag, is_right);
            }
            // The client may have gone.
            let _ = said.send(is_right);
            if !is_right {
                tokio::time::sleep((took * PAUSE).min(Duration::from_mins(1))).await;
            }
            drop(turn);
        });
        result(answer.await.map_err(|_| Denied::Busy)?)
    }

    /// Of user, hash and password together, so that another hash is another question.
    fn tag(&self, users: &Users, user: &str, password: &[u8]) -> Option<[u8; 32]> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        let hash = users.hashes.get(user).unwrap_or(&users.decoy);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    fn recall(&self, tag: &[u8; 32]) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.right.contains(tag) {
            return Some(true);
        }
        known.wrong.contains(tag).then_some(false)
    }
}

/// Wrong ones have a place of their own, so that guessing forgets no right one.
fn remember(known: &Mutex<Known>, tag: [u8; 32], is_right: bool) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let tags = if is_right { &mut known.right } else { &mut known.wrong };
    if tags.len() >= REMEMBERED {
        tags.pop_front();
    }
    tags.push_back(tag);
}

/// User and password of `Authorization: Basic …`.
fn credentials(header: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, text) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = STANDARD.decode(text.trim()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((String::from_utf8(user).ok()?, password))
}

#[cfg(test)]
mod tests;
