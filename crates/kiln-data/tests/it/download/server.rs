//! An HTTP server of a few lines, for one file.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone, Copy)]
pub enum Reply {
    /// Sends the file, or the range asked for.
    Good,
    /// As `Good`, with pauses.
    Slowly,
    /// Closes the connection after so many bytes.
    BreakAfter(usize),
    /// Says nothing at all, for longer than a test waits.
    Silence,
    /// Sends so many bytes, then nothing.
    SilenceAfter(usize),
    /// Sends the whole file whatever range was asked for.
    IgnoreRange,
    /// Answers 416 to a range.
    RefuseRange,
    /// Answers a range with another one.
    WrongRange,
    /// Answers with this status and no file.
    Status(&'static str),
    /// Sends a file of the right size with other bytes.
    OtherContent,
    /// Sends so many other bytes, then closes the connection.
    OtherContentBroken(usize),
    /// Sends one byte more than the file has, and says so.
    Longer,
    /// Sends far more than the file has, without saying how much.
    Endless,
}

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    /// The first byte asked for in each request.
    ranges: Arc<Mutex<Vec<Option<usize>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `content`: the first request by the first reply, and so on; the last reply stays.
    pub fn start(content: &[u8], replies: &[Reply]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (content, replies) = (content.to_vec(), replies.to_vec());
        let thread = thread::spawn({
            let (ranges, stop) = (Arc::clone(&ranges), Arc::clone(&stop));
            move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut stream = stream.unwrap();
                    let range = requested(&stream);
                    let number = ranges.lock().unwrap().len();
                    ranges.lock().unwrap().push(range);
                    // A client that has had enough closes the connection: not the server's problem.
                    let _ = answer(&mut stream, &content, range, replies[number.min(replies.len() - 1)]);
                }
            }
        });
        Server { address, ranges, stop, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/file.bin", self.address)
    }

    /// The first byte asked for in each request so far; `None` is the whole file.
    pub fn ranges(&self) -> Vec<Option<usize>> {
        self.ranges.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread out of waiting for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads a request's head; returns the start of the range in it.
fn requested(stream: &TcpStream) -> Option<usize> {
    let mut range = None;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let line = line.to_ascii_lowercase();
        if let Some(start) = line.strip_prefix("range: bytes=") {
            range = start.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    range
}

fn answer(stream: &mut TcpStream, content: &[u8], range: Option<usize>, reply: Reply) -> std::io::Result<()> {
    let size = content.len();
    let other = vec![42; size];
    let good = &content[range.unwrap_or(0)..];
    let (body, sent) = match reply {
        Reply::Status(status) => {
            return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        Reply::RefuseRange if range.is_some() => {
            let status = "416 Range Not Satisfiable";
            return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        Reply::WrongRange if range.is_some() => {
            write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-{}/{size}\r\n", size - 1)?;
            write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", size - 5)?;
            return stream.write_all(&content[5..]);
        }
        Reply::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            (0..3).try_for_each(|_| stream.write_all(content))?;
            return Ok(());
        }
        Reply::Longer => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", size + 1)?;
            stream.write_all(content)?;
            return stream.write_all(&[0]);
        }
        Reply::Silence => {
            thread::sleep(Duration::from_secs(1));
            return Ok(());
        }
        Reply::OtherContent => (&other[range.unwrap_or(0)..], usize::MAX),
        Reply::OtherContentBroken(sent) => (other.as_slice(), sent),
        Reply::BreakAfter(sent) | Reply::SilenceAfter(sent) => (good, sent),
        Reply::IgnoreRange => (content, usize::MAX),
        Reply::Good | Reply::Slowly | Reply::RefuseRange | Reply::WrongRange => (good, usize::MAX),
    };
    match range {
        Some(start) if body.len() < size => {
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{size}\r\n",
                size - 1
            )?;
        }
        _ => write!(stream, "HTTP/1.1 200 OK\r\n")?,
    }
    write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    for chunk in body[..sent.min(body.len())].chunks(64 * 1024) {
        stream.write_all(chunk)?;
        if let Reply::Slowly = reply {
            thread::sleep(Duration::from_millis(40));
        }
    }
    if let Reply::SilenceAfter(_) = reply {
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
