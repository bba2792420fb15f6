//! The network part: mirrors one after the other, each with resume.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::{Download, FetchOptions, with_suffix};
use crate::error::{DataError, MirrorFailure, Result};

/// How often one mirror is asked to go on after a broken connection. Each time must have brought something.
const ATTEMPTS: usize = 5;

/// A mirror slower than this, in bytes a second, is given up, lest a trickle holds a program for days.
const SLOWEST: u64 = 8 * 1024;

/// Fetches the file to `target`. The caller holds the lock and has made the folder.
pub(super) fn fetch(download: &Download<'_>, target: &Path, options: &FetchOptions) -> Result<()> {
    let path = with_suffix(target, ".part");
    // Neither truncated nor opened for appending: what is there is continued, or overwritten from the start.
    let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let file = open.map_err(|source| DataError::Cache { path: path.clone(), source })?;
    let agent = agent(download, options.timeout);
    let mut part = Part { download, path: &path, file, bar: progress_bar(download, options.progress) };

    let mut failures = Vec::new();
    for url in download.urls {
        match part.complete_from(&agent, url) {
            Ok(()) => {
                part.file.sync_all().map_err(|source| DataError::io("write", &path, source))?;
                part.bar.finish_and_clear();
                drop(part);
                return fs::rename(&path, target).map_err(|source| DataError::io("rename", &path, source));
            }
            Err(Trouble::Mirror(reason) | Trouble::Broken(reason)) => {
                failures.push(MirrorFailure { url: (*url).to_owned(), reason });
            }
            Err(Trouble::Here(error)) => return Err(error),
        }
    }
    Err(DataError::Download { name: download.name.to_owned(), target: target.to_owned(), failures })
}

/// Why an attempt failed.
enum Trouble {
    /// The mirror does not have the file, or not the right one: try the next.
    Mirror(String),
    /// The connection failed: what came is kept, and going on may help.
    Broken(String),
    /// The fault is on this machine: no mirror can help.
    Here(DataError),
}

/// The file being completed.
struct Part<'a> {
    download: &'a Download<'a>,
    path: &'a Path,
    file: File,
    bar: ProgressBar,
}

impl Part<'_> {
    /// Fetches what is missing from one mirror, until the file has its size and checksum.
    fn complete_from(&mut self, agent: &Agent, url: &str) -> Result<(), Trouble> {
        if self.length()? > self.download.size {
            self.restart()?;
        }
        let mut continued = self.length()? > 0;
        let mut most = self.length()?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(agent, url) {
                Ok(()) => {}
                Err(Trouble::Broken(_)) if attempt < ATTEMPTS && self.length()? > most => {
                    most = self.length()?;
                    continue;
                }
                Err(trouble) => return Err(trouble),
            }
            match self.download.checksum.verify(self.path) {
                Ok(()) => return Ok(()),
                Err(DataError::Checksum { algorithm, expected, actual, .. }) => {
                    self.restart()?;
                    // The wrong bytes may be those an earlier attempt or another mirror left.
                    if !continued {
                        let detail = format!("the {algorithm} is {actual}, but {expected} was expected");
                        return Err(Trouble::Mirror(detail));
                    }
                    (continued, most) = (false, 0);
                }
                Err(error) => return Err(Trouble::Here(error)),
            }
        }
    }

    /// One request for the bytes from the file's present end on.
    fn attempt(&mut self, agent: &Agent, url: &str) -> Result<(), Trouble> {
        let (size, offset) = (self.download.size, self.length()?);
        if offset == size {
            return Ok(());
        }
        let mut request = agent.get(url);
        if offset > 0 {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
        }
        let response = request.call().map_err(|error| Trouble::Broken(reason(&error)))?;
        match response.status() {
            StatusCode::OK => self.restart()?,
            StatusCode::PARTIAL_CONTENT if offset > 0 && range_start(&response) == Some(offset) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => {
                self.restart()?;
                return self.attempt(agent, url);
            }
            status => return Err(Trouble::Mirror(format!("the server answered {status}"))),
        }
        let offset = self.length()?;
        if let Some(length) = response.body().content_length()
            && length != size - offset
        {
            return Err(Trouble::Mirror(format!(
                "the server has {} bytes, but {size} were expected",
                offset + length
            )));
        }
        self.append(response.into_body(), offset)
    }

    fn append(&mut self, mut body: Body, offset: u64) -> Result<(), Trouble> {
        let size = self.download.size;
        let here = |path, source| Trouble::Here(DataError::io("write", path, source));
        let mut length = self.file.seek(SeekFrom::Start(offset)).map_err(|source| here(self.path, source))?;
        self.bar.set_position(length);
        let mut reader = body.as_reader();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let got = match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let detail = format!("{} after {length} of {size} bytes", reason(&error));
                    return Err(Trouble::Broken(detail));
                }
            };
            length += got as u64;
            if length > size {
                self.restart()?;
                return Err(Trouble::Mirror(format!("the server sends more than the {size} bytes expected")));
            }
            self.file.write_all(&chunk[..got]).map_err(|source| here(self.path, source))?;
            self.bar.set_position(length);
        }
        if length < size {
            return Err(Trouble::Broken(format!("the connection ended after {length} of {size} bytes")));
        }
        Ok(())
    }

    fn length(&self) -> Result<u64, Trouble> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(|source| Trouble::Here(DataError::io("read", self.path, source)))?.len())
    }

    fn restart(&mut self) -> Result<(), Trouble> {
        self.file.set_len(0).map_err(|source| Trouble::Here(DataError::io("write", self.path, source)))
    }
}

fn agent(download: &Download<'_>, timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // The published checksum is of the packed file: no server may unpack it on the way.
        .accept_encoding("identity")
        .user_agent(concat!("kiln-data/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_send_request(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_recv_body(Some(timeout + Duration::from_secs(download.size / SLOWEST)));
    Agent::new_with_config(config.build())
}

/// The first byte's position in `Content-Range: bytes 100-199/200`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// An error with its causes, which is where the HTTP client keeps what happened.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let detail = error.to_string();
        if !text.contains(&detail) {
            text = format!("{text}: {detail}");
        }
        cause = error.source();
    }
    text
}

fn progress_bar(download: &Download<'_>, wanted: bool) -> ProgressBar {
    if !wanted || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    ProgressBar::new(download.size).with_style(style).with_message(download.name.to_owned())
}
