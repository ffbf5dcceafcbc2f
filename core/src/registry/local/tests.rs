use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Child, Command, Stdio};

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use tokio::time::timeout;

use super::*;
use crate::error::Code;
use crate::registry::contract::Subject;
use crate::registry::{Action, Node};

crate::registry_contract!(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (writer, reader) = (Local::at(folder.path()), Local::at(folder.path()));
    let mut subject = Subject::new(writer.expect("opens"), reader.expect("opens"));
    subject.ttl = Duration::from_secs(1);
    subject.keeping(folder)
});

/// Longest wait for something that is due well within a second or two.
const PATIENCE: Duration = Duration::from_secs(20);
/// Names the folder to the child process of a test.
const CHILD: &str = "MICRO_TEST_LOCAL_FOLDER";

fn greeter(id: &str) -> Service {
    let node = Node { id: id.into(), address: "127.0.0.1:1".into(), ..Node::default() };
    Service { nodes: vec![node], ..Service::new("greeter", "1") }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A second process that registers `greeter`, until it is killed.
struct Process(Child);

impl Process {
    fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "registry::local::tests::second_process"])
            .env(CHILD, folder)
            // A folder that is given is all it needs.
            .env("TMPDIR", "/nonexistent")
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
#[ignore = "the second process of the tests below, started by them"]
async fn second_process() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let registry = Local::at(folder).unwrap();
    registry.register(&greeter("second"), None).await.unwrap();
    // Ends with the test that holds the other end, should that fail to kill it.
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    end.await.unwrap().unwrap();
}

#[tokio::test]
async fn node_that_was_looked_up_is_reported_gone_however_short_its_life() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut watcher = registry.watch(None).await.unwrap();
    for number in 0..200 {
        let service = greeter(&number.to_string());
        let key = Key::of(&service.name, &service.version, &service.nodes[0].id);
        // As another process does it, while this one has no time to look.
        let other = Folder::at(folder.path().to_owned()).unwrap();
        let owned = Owned::write(&other, &key, service.clone(), None, None).unwrap();
        let found = registry.get("greeter").await.unwrap();
        assert_eq!(found, std::slice::from_ref(&service));
        drop(owned);
        for action in [Action::Create, Action::Delete] {
            let change = timeout(PATIENCE, watcher.next()).await.expect("a report").unwrap();
            assert_eq!((change.action, &change.service), (action, &service), "node {number}");
        }
    }
}

#[tokio::test]
async fn folder_that_is_given_needs_no_folder_for_temporary_files() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut watcher = registry.watch(None).await.unwrap();
    let _process = Process::start(folder.path());
    let change = timeout(PATIENCE, watcher.next()).await.expect("it starts without one").unwrap();
    assert_eq!((change.action, change.service), (Action::Create, greeter("second")));
}

#[tokio::test]
async fn clock_that_steps_forward_forgets_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    registry.register(&greeter("a"), Some(Duration::from_secs(60))).await.unwrap();
    let mut watcher = registry.watch(None).await.unwrap();
    // To a clock that was set, the last refresh is an hour ago.
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(&files(folder.path())[0]).unwrap().set_modified(hour_ago).unwrap();
    for reader in [&registry, &Local::at(folder.path()).unwrap()] {
        assert_eq!(reader.get("greeter").await.unwrap(), [greeter("a")]);
        assert_eq!(reader.list().await.unwrap().len(), 1);
    }
    registry.register(&greeter("b"), None).await.unwrap();
    let change = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
    assert_eq!((change.action, change.service), (Action::Create, greeter("b")), "nothing before");
}

#[tokio::test]
async fn node_that_is_not_refreshed_is_gone_for_newcomers_too() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut watcher = registry.watch(None).await.unwrap();
    registry.register(&greeter("a"), Some(Duration::from_millis(100))).await.unwrap();
    for action in [Action::Create, Action::Delete] {
        assert_eq!(timeout(PATIENCE, watcher.next()).await.unwrap().unwrap().action, action);
    }
    // The task that sees its end removes the file a moment later, at the latest.
    timeout(PATIENCE, async {
        while !files(folder.path()).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("its own process removes the record");
    let newcomer = Local::at(folder.path()).unwrap();
    assert_eq!(newcomer.get("greeter").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn killed_process_is_gone_from_lookups_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut watcher = registry.watch(Some("greeter")).await.unwrap();
    let process = Process::start(folder.path());
    let change = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
    assert_eq!((change.action, change.service), (Action::Create, greeter("second")));
    assert_eq!(registry.get("greeter").await.unwrap(), [greeter("second")]);

    // Child::kill is SIGKILL: no destructor of the child runs.
    drop(process);
    assert_eq!(registry.get("greeter").await.unwrap_err().code(), Code::NotFound);
    let change = timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
    assert_eq!((change.action, change.service), (Action::Delete, greeter("second")));
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn node_of_another_process_can_be_deregistered() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut watcher = registry.watch(None).await.unwrap();
    let _process = Process::start(folder.path());
    timeout(PATIENCE, watcher.next()).await.unwrap().unwrap();
    registry.deregister(&greeter("second")).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn removed_record_comes_back_with_the_next_refresh() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    registry.register(&greeter("a"), None).await.unwrap();
    fs::remove_file(&files(folder.path())[0]).unwrap();
    registry.register(&greeter("a"), None).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [greeter("a")]);
}

#[tokio::test]
async fn registrations_end_with_the_last_handle() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    registry.register(&greeter("a"), None).await.unwrap();
    let clone = registry.clone();
    drop(registry);
    assert_eq!(files(folder.path()).len(), 1);
    drop(clone);
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn latest_of_two_registrations_of_a_node_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Local::at(folder.path()).unwrap(), Local::at(folder.path()).unwrap());
    let mut moved = greeter("a");
    moved.nodes[0].address = "127.0.0.1:2".into();
    old.register(&greeter("a"), None).await.unwrap();
    new.register(&moved, None).await.unwrap();
    assert_eq!(old.get("greeter").await.unwrap(), [moved]);
    drop(new);
    assert_eq!(old.get("greeter").await.unwrap(), [greeter("a")]);
}

#[tokio::test]
async fn lookup_never_misses_a_node_whose_record_is_being_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    registry.register(&greeter("a"), None).await.unwrap();
    let writer = tokio::spawn({
        let registry = registry.clone();
        async move {
            for port in 0..300 {
                let mut moved = greeter("a");
                moved.nodes[0].address = format!("127.0.0.1:{port}");
                registry.register(&moved, None).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        assert!(registry.get("greeter").await.is_ok());
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn strange_files_are_skipped_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut held = Vec::new();
    let mut strange = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).unwrap();
        let file = fs::File::open(folder.path().join(name)).unwrap();
        file.lock().unwrap();
        held.push(file);
    };
    strange("greeter.text.json", b"not json");
    strange("greeter.wrong.json", br#"{"service":{"name":"greeter"},"ttl_ms":null,"written":1}"#);
    strange("greeter.long.json", &vec![b' '; (1 << 20) + 1]);
    strange("README", b"unrelated");
    symlink("/dev/zero", folder.path().join("greeter.link.json")).unwrap();
    fs::create_dir(folder.path().join("greeter.folder.json")).unwrap();
    registry.register(&greeter("a"), None).await.unwrap();
    assert_eq!(registry.get("greeter").await.unwrap(), [greeter("a")]);
    assert_eq!(registry.list().await.unwrap().len(), 1);
    assert_eq!(files(folder.path()).len(), 7);
}

#[tokio::test]
async fn record_that_is_being_written_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let (draft, abandoned) = (folder.path().join("a.tmp"), folder.path().join("b.tmp"));
    fs::write(&draft, "{").unwrap();
    fs::write(&abandoned, "{").unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(&abandoned).unwrap().set_modified(hour_ago).unwrap();
    registry.list().await.unwrap();
    assert!(draft.exists() && !abandoned.exists());
}

#[tokio::test]
async fn folder_that_is_wiped_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path().join("deep/er")).unwrap();
    fs::remove_dir_all(folder.path().join("deep")).unwrap();
    assert_eq!(registry.get("greeter").await.unwrap_err().code(), Code::NotFound);
    registry.register(&greeter("a"), None).await.unwrap();
    assert!(registry.get("greeter").await.is_ok());
}

#[tokio::test]
async fn oversize_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path()).unwrap();
    let mut large = greeter("a");
    large.metadata.insert("blob".into(), "x".repeat(1 << 20));
    assert_eq!(registry.register(&large, None).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn folder_that_others_can_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Local::at(folder.path()).unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.detail().contains("chmod 700"), "{error}");
}

#[test]
fn folder_that_is_a_link_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    assert_eq!(Local::at(link).unwrap_err().code(), Code::FailedPrecondition);
}

#[test]
fn folders_that_are_made_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Local::at(folder.path().join("fleet")).unwrap();
    assert_eq!(fs::metadata(registry.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

proptest! {
    #[test]
    fn any_names_make_one_plain_file(name in ".{1,300}", version in ".*", id in ".{1,300}") {
        let folder = tempfile::tempdir().unwrap();
        let registry = Local::at(folder.path()).unwrap();
        let node = Node { id, address: "127.0.0.1:1".into(), ..Node::default() };
        let service = Service { nodes: vec![node], ..Service::new(name.clone(), version) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            registry.register(&service, None).await.unwrap();
            assert_eq!(registry.get(&name).await.unwrap(), std::slice::from_ref(&service));
        });
        let files = files(folder.path());
        prop_assert_eq!(files.len(), 1);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_%.".contains(c);
        prop_assert!(files[0].file_name().unwrap().to_str().unwrap().chars().all(plain));
    }

    #[test]
    fn nodes_that_differ_anywhere_have_files_of_their_own(
        a in any::<(String, String, String)>(),
        b in any::<(String, String, String)>(),
    ) {
        let key = |part: &(String, String, String)| Key::of(&part.0, &part.1, &part.2);
        prop_assert_eq!(a == b, key(&a) == key(&b));
    }

    #[test]
    fn any_bytes_in_a_file_are_skipped(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let registry = Local::at(folder.path()).unwrap();
        let path = folder.path().join("greeter.x.json");
        fs::write(&path, bytes).unwrap();
        let file = fs::File::open(&path).unwrap();
        file.lock().unwrap();
        let contents = Reader::new().read(&registry.shared.folder, None).unwrap();
        prop_assert!(contents.services.is_empty());
    }
}
