//! The stack machine.

use std::borrow::Cow;
use std::collections::HashMap;

use super::globals::{self, Global};
use super::node::{Id, Node, Pickled, StorageSpec, StorageView, TensorSpec};
use super::{MAX_NODES, UNFOLDING, UNFOLDING_FREE};
use crate::bigint::Integer;
use crate::fault::{Outcome, unsupported, wrong};

/// Runs the program at the start of `input`.
pub(crate) fn run(input: &[u8]) -> Outcome<Pickled<'_>> {
    let mut machine = Machine {
        input,
        at: 0,
        nodes: vec![Node::None, Node::Bool(false), Node::Bool(true)],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        storages: Vec::new(),
        places: HashMap::new(),
        views: Vec::new(),
        tensors: Vec::new(),
        allowance: input.len().saturating_mul(UNFOLDING).saturating_add(UNFOLDING_FREE),
    };
    loop {
        let at = machine.at;
        let opcode = machine.byte()?;
        if opcode == b'.' {
            break;
        }
        machine.step(opcode).map_err(|fault| fault.about(&format!("pickle, byte {at}")))?;
    }
    let root = machine.pop()?;
    Ok(Pickled {
        root,
        nodes: machine.nodes,
        storages: machine.storages,
        tensors: machine.tensors,
        length: machine.at,
    })
}

// The nodes that every arena begins with, so that they are not made again and again.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;

pub(super) struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    pub(super) nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// The heights of the stack at the open marks; nothing below the last one is touched.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    pub(super) storages: Vec<StorageSpec>,
    /// The numbers of storages by their keys.
    places: HashMap<String, usize>,
    pub(super) views: Vec<StorageView>,
    pub(super) tensors: Vec<TensorSpec>,
    /// What may still be copied out of nodes, which memory could otherwise be multiplied by.
    allowance: usize,
}

impl<'a> Machine<'a> {
    fn bytes(&mut self, n: usize) -> Outcome<&'a [u8]> {
        let Some(bytes) = self.input[self.at..].get(..n) else {
            return wrong(format!(
                "{n} bytes at {}, where only {} are left",
                self.at,
                self.input.len() - self.at
            ));
        };
        self.at += n;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Outcome<u8> {
        match self.input.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => wrong("the pickle ends without its end mark"),
        }
    }

    fn length1(&mut self) -> Outcome<usize> {
        Ok(self.byte()?.into())
    }

    fn length4(&mut self) -> Outcome<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Outcome<usize> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).or_else(|_| wrong(format!("a length of {length} bytes")))
    }

    /// The text up to the end of the line.
    fn line(&mut self) -> Outcome<&'a str> {
        let rest = &self.input[self.at..];
        let Some(end) = rest.iter().position(|&b| b == b'\n') else {
            return wrong("a line without an end");
        };
        self.at += end + 1;
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        std::str::from_utf8(line).or_else(|_| wrong("a line that is no UTF-8"))
    }

    /// Adds a node.
    pub(super) fn add(&mut self, node: Node<'a>) -> Outcome<Id> {
        if self.nodes.len() >= MAX_NODES {
            return wrong(format!("more than {MAX_NODES} objects"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    /// Accounts for `n` elements or bytes that are copied.
    pub(super) fn spend(&mut self, n: usize) -> Outcome<()> {
        match self.allowance.checked_sub(n) {
            Some(left) => {
                self.allowance = left;
                Ok(())
            }
            None => wrong("its objects are copied more often than a sensible file does"),
        }
    }

    fn push(&mut self, node: Node<'a>) -> Outcome<()> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Outcome<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn top(&self) -> Outcome<Id> {
        match self.stack.last() {
            Some(&id) if self.stack.len() > self.floor() => Ok(id),
            _ => wrong("the stack is empty"),
        }
    }

    /// The objects above the last mark, which is taken away.
    fn pop_mark(&mut self) -> Outcome<Vec<Id>> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => wrong("there is no mark on the stack"),
        }
    }

    fn last(&mut self, n: usize) -> Outcome<Vec<Id>> {
        if self.stack.len() < self.floor() + n {
            return wrong("the stack is empty");
        }
        Ok(self.stack.split_off(self.stack.len() - n))
    }

    fn step(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            // ---- the program and the stack
            0x80 => match self.byte()? {
                0..=5 => Ok(()),
                version => unsupported(format!("pickle protocol {version}")),
            },
            0x95 => {
                let length = self.length8()?;
                let left = self.input.len() - self.at;
                if length > left {
                    wrong(format!("a frame of {length} bytes, where {left} are left"))
                } else {
                    Ok(())
                }
            }
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            // ---- the memo
            b'q' => {
                let place = self.byte()?.into();
                self.put(place)
            }
            b'r' => {
                let place = u32::from_le_bytes(self.array()?);
                self.put(place)
            }
            b'p' => {
                let place = self.line_number()?;
                self.put(place)
            }
            0x94 => self.put(self.memo.len() as u32),
            b'h' => {
                let place = self.byte()?.into();
                self.get(place)
            }
            b'j' => {
                let place = u32::from_le_bytes(self.array()?);
                self.get(place)
            }
            b'g' => {
                let place = self.line_number()?;
                self.get(place)
            }
            // ---- calls
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(globals::find(module, name)?)
            }
            0x93 => {
                let names = self.last(2)?;
                let (Node::Str(module), Node::Str(name)) = (self.node(names[0]), self.node(names[1])) else {
                    return wrong("a global whose name is no text");
                };
                let node = globals::find(module, name)?;
                self.push(node)
            }
            b'R' | 0x81 => {
                let call = self.last(2)?;
                let (Node::Global(callee), Node::Tuple(args)) = (self.node(call[0]), self.node(call[1]))
                else {
                    let kinds = (self.node(call[0]).kind(), self.node(call[1]).kind());
                    return wrong(format!("a call of {} with {}", kinds.0, kinds.1));
                };
                let (callee, args) = (*callee, args.clone());
                self.spend(args.len())?;
                if opcode == 0x81 && !matches!(callee, Global::OrderedDict | Global::Parameter) {
                    return wrong(format!("a new object of {callee:?}"));
                }
                let result = self.call(callee, &args)?;
                self.stack.push(result);
                Ok(())
            }
            b'b' => {
                self.pop()?;
                // The attributes of a state dict (`_metadata`) say nothing that Kiln has a use for.
                match self.node(self.top()?) {
                    Node::OrderedDict(_) => Ok(()),
                    other => wrong(format!("attributes for {}", other.kind())),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(storage)
            }
            _ => self.literal(opcode),
        }
    }

    /// The opcodes that make numbers, texts and containers.
    fn literal(&mut self, opcode: u8) -> Outcome<()> {
        match opcode {
            b'N' => {
                self.stack.push(NONE);
                Ok(())
            }
            0x88 | 0x89 => {
                self.stack.push(if opcode == 0x88 { TRUE } else { FALSE });
                Ok(())
            }
            b'K' => {
                let n = self.byte()?;
                self.push(Node::Int(n.into()))
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(n.into()))
            }
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(n.into()))
            }
            0x8a => {
                let n = self.length1()?;
                self.long(n)
            }
            0x8b => {
                let n = i32::from_le_bytes(self.array()?);
                match usize::try_from(n) {
                    Ok(n) => self.long(n),
                    Err(_) => wrong(format!("an integer of {n} bytes")),
                }
            }
            b'I' | b'L' => match self.line()? {
                "00" if opcode == b'I' => self.push(Node::Bool(false)),
                "01" if opcode == b'I' => self.push(Node::Bool(true)),
                text => {
                    let n = Integer::from_decimal(text.strip_suffix('L').unwrap_or(text))?;
                    self.integer(n)
                }
            },
            b'G' => {
                let x = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(x))
            }
            b'F' => match self.line()?.parse() {
                Ok(x) => self.push(Node::Float(x)),
                Err(_) => wrong("a float that is none"),
            },
            b'X' => {
                let n = self.length4()?;
                self.text(n)
            }
            0x8c => {
                let n = self.length1()?;
                self.text(n)
            }
            0x8d => {
                let n = self.length8()?;
                self.text(n)
            }
            b'V' | b'S' => {
                let line = self.line()?;
                // Escapes are left to files that nobody writes any more.
                let text = if opcode == b'S' { line.trim_matches(['\'', '"']) } else { line };
                if text.contains('\\') {
                    return unsupported("texts with escapes of pickle protocol 0");
                }
                self.push(Node::Str(Cow::Borrowed(text)))
            }
            // A `str` of Python 2 is text to PyTorch.
            b'U' | b'T' => {
                let n = if opcode == b'U' { self.length1()? } else { self.length4()? };
                let bytes = self.bytes(n)?;
                self.push(match std::str::from_utf8(bytes) {
                    Ok(text) => Node::Str(Cow::Borrowed(text)),
                    Err(_) => Node::Bytes(Cow::Borrowed(bytes)),
                })
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                let n = match opcode {
                    b'C' => self.length1()?,
                    b'B' => self.length4()?,
                    _ => self.length8()?,
                };
                let bytes = self.bytes(n)?;
                self.push(Node::Bytes(Cow::Borrowed(bytes)))
            }
            b')' => self.push(Node::Tuple(Vec::new())),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            0x8f => self.push(Node::Set(Vec::new())),
            0x85..=0x87 => {
                let items = self.last(usize::from(opcode - 0x84))?;
                self.push(Node::Tuple(items))
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items))
            }
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))
            }
            b'd' => {
                let items = pairs(self.pop_mark()?)?;
                self.push(Node::Dict(items))
            }
            b'a' | b'e' => {
                let items = if opcode == b'a' { vec![self.pop()?] } else { self.pop_mark()? };
                let top = self.top()?;
                match &mut self.nodes[top as usize] {
                    Node::List(list) => list.extend(items),
                    other => return wrong(format!("list elements for {}", other.kind())),
                }
                Ok(())
            }
            0x90 => {
                let items = self.pop_mark()?;
                let top = self.top()?;
                match &mut self.nodes[top as usize] {
                    Node::Set(set) => set.extend(items),
                    other => return wrong(format!("set elements for {}", other.kind())),
                }
                Ok(())
            }
            b's' | b'u' => {
                let items = pairs(if opcode == b's' { self.last(2)? } else { self.pop_mark()? })?;
                let top = self.top()?;
                match &mut self.nodes[top as usize] {
                    Node::Dict(dict) | Node::OrderedDict(dict) => dict.extend(items),
                    other => return wrong(format!("dict entries for {}", other.kind())),
                }
                Ok(())
            }
            _ => wrong(format!("the opcode 0x{opcode:02x}, which is unknown or not allowed")),
        }
    }

    fn line_number(&mut self) -> Outcome<u32> {
        let line = self.line()?;
        line.parse().or_else(|_| wrong("a memo place that is no number"))
    }

    fn put(&mut self, place: u32) -> Outcome<()> {
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn get(&mut self, place: u32) -> Outcome<()> {
        match self.memo.get(&place) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => wrong(format!("memo place {place}, where nothing was put")),
        }
    }

    fn long(&mut self, n: usize) -> Outcome<()> {
        let n = Integer::from_le(self.bytes(n)?)?;
        self.integer(n)
    }

    fn integer(&mut self, n: Integer) -> Outcome<()> {
        self.push(match n {
            Integer::Small(n) => Node::Int(n),
            Integer::Big(n) => Node::BigInt(Box::new(n)),
        })
    }

    fn text(&mut self, n: usize) -> Outcome<()> {
        match std::str::from_utf8(self.bytes(n)?) {
            Ok(text) => self.push(Node::Str(Cow::Borrowed(text))),
            Err(_) => wrong("a text that is no UTF-8"),
        }
    }

    /// The number of the storage of a key, which is always described alike.
    pub(super) fn place(
        &mut self,
        key: &str,
        dtype: Option<kiln_autograd::DType>,
        count: usize,
    ) -> Outcome<usize> {
        if let Some(&place) = self.places.get(key) {
            let known = &self.storages[place];
            if known.untyped != dtype.is_none()
                || (!known.untyped && known.dtype != dtype)
                || known.count != count
            {
                return wrong(format!("the storage {key:?} has two types or sizes"));
            }
            return Ok(place);
        }
        self.spend(key.len())?;
        let spec = StorageSpec { key: key.to_owned(), dtype, count, untyped: dtype.is_none(), used: false };
        self.places.insert(key.to_owned(), self.storages.len());
        self.storages.push(spec);
        Ok(self.storages.len() - 1)
    }
}

/// Keys and values that alternate.
fn pairs(items: Vec<Id>) -> Outcome<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return wrong("a dict key without a value");
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
