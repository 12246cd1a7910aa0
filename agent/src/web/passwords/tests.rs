use super::super::tests::{basic, hash};
use super::*;

fn users(all: &[(&str, &str)]) -> Arc<Users> {
    let hashes = all.iter().map(|(user, password)| ((*user).to_owned(), hash(password))).collect();
    Arc::new(Users::new(hashes).unwrap())
}

async fn ask(passwords: &Passwords, users: &Arc<Users>, header: &str) -> Result<(), Denied> {
    passwords.admit(users, Some(&HeaderValue::from_str(header).unwrap())).await
}

fn known(passwords: &Passwords) -> (usize, usize) {
    let known = passwords.known.lock().unwrap();
    (known.right.len(), known.wrong.len())
}

#[tokio::test]
async fn users_get_in_by_their_own_password_alone() {
    let (passwords, users) = (Passwords::new(), users(&[("alice", "s:1"), ("bob", "s2"), ("", "empty")]));
    for (user, password) in [("alice", "s:1"), ("bob", "s2"), ("", "empty")] {
        assert_eq!(ask(&passwords, &users, &basic(user, password)).await, Ok(()), "{user}");
    }
    for (user, password) in [("alice", "s2"), ("bob", "s2 "), ("carol", "s2"), ("Alice", "s:1"), ("bob", "")]
    {
        assert_eq!(ask(&passwords, &users, &basic(user, password)).await, Err(Denied::Password), "{user}");
    }
    for header in ["Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer czI=", ""] {
        assert_eq!(ask(&passwords, &users, header).await, Err(Denied::Password), "{header}");
    }
    assert_eq!(passwords.admit(&users, None).await, Err(Denied::Password));
}

#[tokio::test]
async fn a_password_is_checked_once_until_its_hash_is_another() {
    let passwords = Passwords::new();
    let before = users(&[("alice", "one")]);
    for _ in 0..3 {
        assert_eq!(ask(&passwords, &before, &basic("alice", "one")).await, Ok(()));
        assert_eq!(ask(&passwords, &before, &basic("alice", "two")).await, Err(Denied::Password));
    }
    assert_eq!(known(&passwords), (1, 1));
    let after = users(&[("alice", "two")]);
    assert_eq!(ask(&passwords, &after, &basic("alice", "two")).await, Ok(()));
    assert_eq!(ask(&passwords, &after, &basic("alice", "one")).await, Err(Denied::Password));
    assert_eq!(known(&passwords), (2, 2));
}

#[tokio::test]
async fn guessing_waits_its_turn_and_does_not_hinder_who_is_known() {
    // Of a cost that takes long enough to be seen.
    let hash = bcrypt::hash("secret", 6).unwrap();
    let users = Arc::new(Users::new([("alice".to_owned(), hash)].into()).unwrap());
    let passwords = Arc::new(Passwords::new());
    let begin = Instant::now();
    assert_eq!(ask(&passwords, &users, &basic("alice", "secret")).await, Ok(()));
    let once = begin.elapsed();
    let guesses: Vec<_> = (0..MOST_WAITING + 3)
        .map(|guess| {
            let (passwords, users) = (Arc::clone(&passwords), Arc::clone(&users));
            tokio::spawn(async move { ask(&passwords, &users, &basic("alice", &guess.to_string())).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let begin = Instant::now();
    assert_eq!(ask(&passwords, &users, &basic("alice", "secret")).await, Ok(()));
    assert!(begin.elapsed() < once, "who is known does not wait");
    let mut denied = Vec::new();
    for guess in guesses {
        denied.push(guess.await.unwrap().unwrap_err());
    }
    let busy = denied.iter().filter(|denied| **denied == Denied::Busy).count();
    assert_eq!(busy, 3);
    // Seven pauses between eight checks, each as long as nine of them; without, it would be eight times one.
    assert!(begin.elapsed() > once * 16, "{:?} for eight, {once:?} for one", begin.elapsed());
}

#[test]
fn a_name_that_is_no_users_takes_as_long() {
    let users = users(&[("alice", "secret")]);
    assert!(users.decoy.parse::<HashParts>().is_ok_and(|parts| parts.get_cost() == 4));
    assert!(!users.check("bob", b""));
    assert!(!users.check("bob", b"secret"));
    assert!(users.check("alice", b"secret"));
}

#[test]
fn guesses_are_forgotten_before_what_is_right() {
    let known = Mutex::new(Known::default());
    remember(&known, [0; 32], true);
    for guess in 1..=200 {
        remember(&known, [guess; 32], false);
    }
    let known = known.into_inner().unwrap();
    assert_eq!((known.right.len(), known.wrong.len()), (1, REMEMBERED));
}

#[test]
fn hashes_of_other_programs_are_read() {
    // `htpasswd -nbB`, the decoy of the exporter-toolkit ("fakepassword"), and OpenBSD's `encrypt`.
    let (hash, password) = ("$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi", "fakepassword");
    let users = Users::new([("a".to_owned(), hash.to_owned())].into()).unwrap();
    assert!(users.check("a", password.as_bytes()));
    assert!(!users.check("a", b"other"));
}
