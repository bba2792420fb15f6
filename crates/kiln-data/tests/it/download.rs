//! Downloads from a small server on this machine that misbehaves in every way a mirror can.

mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln_data::DataError;
use kiln_data::download::{Checksum, Download, FetchOptions};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use server::{Reply, Server};

/// A file to fetch, a cache to fetch it to.
struct Case {
    content: Vec<u8>,
    sha256: String,
    cache: TempDir,
}

impl Case {
    fn new() -> Case {
        let content: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        Case { content, sha256, cache: tempfile::tempdir().unwrap() }
    }

    fn server(&self, replies: &[Reply]) -> Server {
        Server::start(&self.content, replies)
    }

    fn fetch(&self, urls: &[&str]) -> Result<PathBuf, DataError> {
        self.fetch_within(urls, Duration::from_secs(10))
    }

    fn fetch_within(&self, urls: &[&str], timeout: Duration) -> Result<PathBuf, DataError> {
        let options = FetchOptions { cache: Some(self.cache.path().to_owned()), timeout, progress: false };
        self.download(urls).fetch_with(&options)
    }

    fn download<'a>(&'a self, urls: &'a [&'a str]) -> Download<'a> {
        let checksum = Checksum::Sha256(&self.sha256);
        Download { name: "set/file.bin", urls, checksum, size: self.content.len() as u64 }
    }

    fn target(&self) -> PathBuf {
        self.cache.path().join("set").join("file.bin")
    }

    fn part(&self) -> PathBuf {
        self.cache.path().join("set").join("file.bin.part")
    }

    fn leave(&self, path: &Path, bytes: &[u8]) {
        fs::create_dir_all(self.target().parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Fetching must give the file, and leave no part behind.
    fn succeeds(&self, urls: &[&str]) {
        assert_eq!(self.fetch(urls).unwrap(), self.target());
        assert!(fs::read(self.target()).unwrap() == self.content);
        assert!(!self.part().exists());
    }

    /// Fetching must fail at every mirror, for the reasons given.
    fn fails(&self, urls: &[&str], reasons: &[&str]) {
        self.failed(self.fetch(urls), urls, reasons);
    }

    fn failed(&self, result: Result<PathBuf, DataError>, urls: &[&str], reasons: &[&str]) {
        let error = result.unwrap_err();
        let text = error.to_string();
        let DataError::Download { failures, .. } = error else { panic!("{error:?}") };
        assert_eq!(failures.len(), urls.len(), "{text}");
        for ((failure, url), reason) in failures.iter().zip(urls).zip(reasons) {
            assert_eq!(failure.url, *url);
            assert!(failure.reason.contains(reason), "{} without {reason:?}", failure.reason);
            assert!(text.contains(url) && text.contains(&failure.reason), "{text}");
        }
        assert!(text.contains(self.target().to_str().unwrap()), "{text}");
        assert!(!self.target().exists());
    }
}

/// An address on this machine where nobody listens.
fn closed() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/file.bin", listener.local_addr().unwrap())
}

#[test]
fn a_file_is_fetched_once() {
    let case = Case::new();
    let server = case.server(&[Reply::Good]);
    case.succeeds(&[&server.url()]);
    case.succeeds(&[&server.url()]);
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    let case = Case::new();
    let server = case.server(&[Reply::BreakAfter(100_000), Reply::BreakAfter(50_000), Reply::Good]);
    case.succeeds(&[&server.url()]);
    assert_eq!(server.ranges(), [None, Some(100_000), Some(150_000)]);
}

#[test]
fn an_earlier_run_is_continued() {
    let case = Case::new();
    let server = case.server(&[Reply::Good]);
    case.leave(&case.part(), &case.content[..123_456]);
    case.succeeds(&[&server.url()]);
    assert_eq!(server.ranges(), [Some(123_456)]);
}

#[test]
fn a_whole_part_needs_no_request() {
    let case = Case::new();
    case.leave(&case.part(), &case.content);
    case.succeeds(&[&closed()]);
}

#[test]
fn a_part_of_something_else_is_dropped() {
    for left in [vec![1; 1000], vec![1; 300_000], vec![1; 300_001]] {
        let case = Case::new();
        let server = case.server(&[Reply::Good]);
        case.leave(&case.part(), &left);
        case.succeeds(&[&server.url()]);
        assert_eq!(server.ranges().last(), Some(&None));
    }
}

#[test]
fn servers_that_cannot_continue_send_the_whole() {
    for reply in [Reply::IgnoreRange, Reply::RefuseRange, Reply::WrongRange] {
        let case = Case::new();
        let server = case.server(&[reply]);
        case.leave(&case.part(), &case.content[..1000]);
        case.succeeds(&[&server.url()]);
        assert_eq!(server.ranges()[0], Some(1000));
    }
}

#[test]
fn a_mirror_with_another_file_is_passed_over() {
    let case = Case::new();
    let (bad, good) = (case.server(&[Reply::OtherContent]), case.server(&[Reply::Good]));
    case.fails(&[&bad.url()], &["the sha256 is "]);
    assert!(fs::read(case.part()).unwrap().is_empty());
    case.succeeds(&[&bad.url(), &good.url()]);
}

#[test]
fn a_wrong_beginning_from_one_mirror_does_not_spoil_the_next() {
    let case = Case::new();
    let (bad, good) = (case.server(&[Reply::OtherContentBroken(5000)]), case.server(&[Reply::Good]));
    case.succeeds(&[&bad.url(), &good.url()]);
    assert_eq!(good.ranges(), [Some(5000), None]);
}

#[test]
fn mirrors_are_tried_in_order_and_all_failures_told() {
    let case = Case::new();
    let missing = case.server(&[Reply::Status("404 Not Found")]);
    let overloaded = case.server(&[Reply::Status("503 Service Unavailable")]);
    let (closed, good) = (closed(), case.server(&[Reply::Good]));
    let urls = [missing.url(), closed, overloaded.url(), "nonsense".to_owned(), good.url()];
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    case.fails(&urls[..4], &["404 Not Found", "refused", "503 Service Unavailable", ""]);
    case.succeeds(&urls);
    case.succeeds(&[]);
}

/// No certificate can be had for a test server; that the handshake begins and fails cleanly is seen all the same.
#[test]
fn https_is_spoken() {
    let case = Case::new();
    let server = case.server(&[Reply::Good]);
    let url = server.url().replace("http:", "https:");
    case.fails(&[&url], &["InvalidContentType"]);
}

#[test]
fn without_mirrors_the_error_says_so() {
    let case = Case::new();
    case.fails(&[], &[]);
    assert!(case.fetch(&[]).unwrap_err().to_string().contains("could not be downloaded: no mirror is known"));
}

#[test]
fn files_of_another_size_are_refused_early() {
    let case = Case::new();
    let server = case.server(&[Reply::Longer]);
    case.fails(&[&server.url()], &["the server has 300001 bytes, but 300000 were expected"]);
    let server = case.server(&[Reply::Endless]);
    case.fails(&[&server.url()], &["the server sends more than the 300000 bytes expected"]);
    assert!(fs::metadata(case.part()).unwrap().len() <= 300_000);
}

#[test]
fn a_silent_server_is_given_up() {
    for reply in [Reply::Silence, Reply::SilenceAfter(1000)] {
        let case = Case::new();
        let (server, started) = (case.server(&[reply]), Instant::now());
        let url = server.url();
        let result = case.fetch_within(&[&url], Duration::from_millis(200));
        case.failed(result, &[&url], &["timeout"]);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_server_that_always_breaks_is_given_up() {
    let case = Case::new();
    let server = case.server(&[Reply::BreakAfter(10)]);
    case.fails(&[&server.url()], &["after 50 of 300000 bytes"]);
    assert_eq!(server.ranges().len(), 5);
    // What came is there for the next run.
    assert!(fs::read(case.part()).unwrap() == case.content[..50]);
    // One that brings nothing is asked only once.
    let server = case.server(&[Reply::BreakAfter(0)]);
    case.fails(&[&server.url()], &["after 50 of 300000 bytes"]);
    assert_eq!(server.ranges().len(), 1);
}

#[test]
fn a_damaged_file_in_the_cache_is_replaced() {
    for damaged in [vec![0; 300_000], vec![0; 7]] {
        let case = Case::new();
        let server = case.server(&[Reply::Good]);
        case.leave(&case.target(), &damaged);
        case.succeeds(&[&server.url()]);
        case.leave(&case.target(), &damaged);
        let error = case.fetch(&[&closed()]).unwrap_err().to_string();
        assert!(error.contains("in the cache, but unfit: ") && error.contains("refused"), "{error}");
    }
}

#[test]
fn two_at_a_time_fetch_once() {
    let case = Case::new();
    let server = case.server(&[Reply::Slowly]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(case.fetch(&[&server.url()]).unwrap(), case.target()));
        }
    });
    assert!(fs::read(case.target()).unwrap() == case.content);
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_cache_that_cannot_be_written_to_is_named() {
    let case = Case::new();
    let in_the_way = case.cache.path().join("set");
    fs::write(&in_the_way, "a file where the folder should be").unwrap();
    let error = case.fetch(&[&closed()]).unwrap_err();
    assert!(matches!(&error, DataError::Cache { path, .. } if path.starts_with(&in_the_way)), "{error:?}");
    assert!(error.to_string().contains("set KILN_CACHE"), "{error}");

    fs::remove_file(&in_the_way).unwrap();
    fs::create_dir_all(case.part()).unwrap();
    let error = case.fetch(&[&closed()]).unwrap_err();
    assert!(matches!(&error, DataError::Cache { path, .. } if *path == case.part()), "{error:?}");
}

#[test]
fn names_stay_inside_the_cache() {
    let case = Case::new();
    let options = FetchOptions { cache: Some(case.cache.path().to_owned()), ..FetchOptions::default() };
    for name in ["", "../up", "/tmp/absolute", "a/../../b", "."] {
        let download = Download { name, ..case.download(&[]) };
        let error = download.fetch_with(&options).unwrap_err();
        assert!(matches!(error, DataError::Format { .. }), "{name}: {error:?}");
    }
}

#[test]
fn md5_checksums_work_and_case_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abc");
    fs::write(&path, "abc").unwrap();
    // RFC 1321, A.5 and FIPS 180-4's example.
    Checksum::Md5("900150983cd24fb0d6963f7d28e17f72").verify(&path).unwrap();
    Checksum::Md5("900150983CD24FB0D6963F7D28E17F72").verify(&path).unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    Checksum::Sha256(sha256).verify(&path).unwrap();
    let error = Checksum::Md5("00").verify(&path).unwrap_err();
    assert!(matches!(error, DataError::Checksum { algorithm: "md5", .. }), "{error:?}");
    assert!(error.to_string().contains("900150983cd24fb0d6963f7d28e17f72"), "{error}");
}
