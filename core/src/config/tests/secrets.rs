use serde_json::json;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn key(hex: &str) -> [u8; 32] {
    bytes(hex).try_into().unwrap()
}

// The test vectors of NaCl, which is what go-micro's `secretbox` and `box` are: a nonce of 24 bytes, then the box.
const KEY: &str = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
const PRIVATE: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
const PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
const OTHERS: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
const NONCE: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
const PLAIN: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01\
                     233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd\
                     4924ca1c60902e52f0a089bc76897040e082f937763848645e0705";
const BOX: &str = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98\
                   dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd\
                   6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5";

#[test]
fn what_go_micro_encrypts_is_decrypted() {
    let encrypted = bytes(&format!("{NONCE}{BOX}"));
    assert_eq!(SecretBox::new(key(KEY)).decrypt(&encrypted).unwrap(), bytes(PLAIN));
    let pair = KeyPair::new(key(PRIVATE), key(OTHERS));
    assert_eq!(pair.decrypt(&encrypted).unwrap(), bytes(PLAIN));
    assert_eq!(KeyPair::public_key(key(PRIVATE)), key(PUBLIC));
}

#[test]
fn what_is_encrypted_is_decrypted_by_the_right_key_alone() {
    let (one, other) = ([1; 32], [2; 32]);
    let sender = KeyPair::new(one, KeyPair::public_key(other));
    let receiver = KeyPair::new(other, KeyPair::public_key(one));
    let stranger = KeyPair::new([3; 32], KeyPair::public_key(one));
    let ciphers: [[Box<dyn Cipher>; 3]; 2] = [
        [one, one, other].map(|key| Box::new(SecretBox::new(key)) as Box<dyn Cipher>),
        [sender, receiver, stranger].map(|pair| Box::new(pair) as Box<dyn Cipher>),
    ];
    for [sender, receiver, stranger] in ciphers {
        let encrypted = sender.encrypt(b"hunter2").unwrap();
        assert_eq!(encrypted.len(), 24 + 16 + 7);
        assert_ne!(encrypted, sender.encrypt(b"hunter2").unwrap(), "a nonce of its own");
        assert_eq!(receiver.decrypt(&encrypted).unwrap(), b"hunter2");
        let error = stranger.decrypt(&encrypted).unwrap_err();
        assert!(error.detail().contains("another key"), "{error}");
        let mut changed = encrypted.clone();
        changed[30] ^= 1;
        assert!(receiver.decrypt(&changed).is_err());
        for length in [0, 23, 24, 30] {
            let error = receiver.decrypt(&encrypted[..length]).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
        }
    }
}

#[tokio::test]
async fn encrypted_values_are_read_and_never_shown() {
    let cipher = SecretBox::new([7; 32]);
    let sealed = cipher.seal("hunter2").unwrap();
    let pin = cipher.seal("1234").unwrap();
    let values = json!({"db": {"password": sealed, "pin": pin, "token": "abc", "user": "me"}});
    let source = Memory::new(values).unwrap();
    let builder = Config::builder().source(source).cipher(cipher.clone()).secret("db.token");
    let config = builder.load().await.unwrap();
    assert_eq!(config.get("db.password").string().unwrap(), "hunter2");
    assert_eq!(config.get("db.pin").int().unwrap(), 1234);
    assert_eq!(config.get("db.token").string().unwrap(), "abc");
    #[derive(Debug, serde::Deserialize)]
    struct Database {
        password: Secret<String>,
        user: String,
    }
    let database: Database = config.scan("db").unwrap();
    assert_eq!((database.password.expose().as_str(), database.user.as_str()), ("hunter2", "me"));
    let shown = format!(
        "{:?} {:?} {} {} {} {:?} {:?} {database:?} {} {}",
        config,
        config.get(""),
        config.get("db"),
        config.why("db.password"),
        config.why("db.token"),
        config.status(),
        cipher,
        config.get("db.password").int().unwrap_err(),
        config.get("db.password").duration().unwrap_err(),
    );
    for secret in ["hunter2", "abc", "1234"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let error = config.get("db.password").bool().unwrap_err();
    let expected = "db.password (memory): the secret is not of the type that is wanted";
    assert_eq!(error.detail(), expected);
    config.del("db").unwrap();
    let why = config.why("db.token").to_string();
    assert_eq!(why, "db.token = (not set)\n  from the program: (deleted)\n  over memory: (secret)");
}

#[tokio::test]
async fn an_encrypted_value_that_cannot_be_read_says_what_is_missing() {
    let load = async |value: &str| {
        let source = Memory::new(json!({"password": value})).unwrap();
        Config::builder().source(source).cipher(SecretBox::new([7; 32])).load().await.unwrap_err()
    };
    for (value, why) in [
        ("secret://box/AAAA", "one that is called \"box\""),
        ("secret://secretbox", "written secret://NAME/BASE64"),
        ("secret://secretbox/!!", "base64"),
        ("secret://secretbox/AAAA", "at least 24 bytes, and this one has 3"),
    ] {
        let error = load(value).await;
        assert!(error.detail().starts_with("password (memory): "), "{error}");
        assert!(error.detail().contains(why), "{error}");
    }
}

#[tokio::test]
async fn encrypted_values_stay_for_those_who_have_no_key() {
    let source = Memory::new(json!({"password": "secret://box/AAAA", "user": "me"})).unwrap();
    let config = Config::builder().source(source).keep_encrypted().load().await.unwrap();
    assert_eq!(config.get("password").string().unwrap(), "secret://box/AAAA");
}
