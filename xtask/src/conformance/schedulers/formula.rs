//! Formulas of one variable, as recordings write functions: Python's expressions, and two kinds of schedule in words.

use std::f64::consts::PI;

use anyhow::{Context, Result, bail, ensure};

/// A function of a number, whatever its name in the text: `epoch`, `cycle` or `iteration`.
#[derive(Clone, Debug)]
pub enum Formula {
    /// `warmup A then cosine to B`: `(x + 1) / A` below `A`, then half a cosine down to zero at `B`.
    Warmup(f64, f64),
    /// An expression.
    Expression(Node),
}

/// A part of an expression.
#[derive(Clone, Debug)]
pub enum Node {
    /// A constant.
    Number(f64),
    /// The variable.
    Variable,
    /// An operator or a function, and its operands.
    Call(&'static str, Vec<Node>),
}

impl Formula {
    /// Reads a formula.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["warmup", a, "then", "cosine", "to", b] | ["cosine", "warmup", a, "of", b] => {
                Ok(Self::Warmup(a.parse()?, b.parse()?))
            }
            _ => {
                let mut parser = Parser { tokens: tokens(text)?, at: 0 };
                let node = parser.choice().with_context(|| format!("cannot read {text:?}"))?;
                ensure!(parser.at == parser.tokens.len(), "more than a formula: {text:?}");
                Ok(Self::Expression(node))
            }
        }
    }

    /// The value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        match self {
            Self::Warmup(up, _) if x < *up => (x + 1.0) / up,
            Self::Warmup(up, end) => (1.0 + libm::cos(PI * (x - up) / (end - up))) / 2.0,
            Self::Expression(node) => node.at(x),
        }
    }
}

impl Node {
    fn at(&self, x: f64) -> f64 {
        let (name, operands) = match self {
            Self::Number(n) => return *n,
            Self::Variable => return x,
            Self::Call(name, operands) => (*name, operands),
        };
        let v = |i: usize| operands.get(i).map_or(f64::NAN, |o| o.at(x));
        let truth = |b: bool| f64::from(u8::from(b));
        match name {
            "if" => return if v(0) != 0.0 { v(1) } else { v(2) },
            "or" => return if v(0) != 0.0 { v(0) } else { v(1) },
            "and" => return if v(0) != 0.0 { v(1) } else { v(0) },
            "max" => return (1..operands.len()).map(v).fold(v(0), f64::max),
            "min" => return (1..operands.len()).map(v).fold(v(0), f64::min),
            _ => {}
        }
        let (a, b) = (v(0), v(1));
        match name {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            "//" => (a / b).floor(),
            // Python's remainder has the sign of the divisor.
            "%" => a - b * (a / b).floor(),
            "**" => libm::pow(a, b),
            "neg" => -a,
            "not" => truth(a == 0.0),
            "<" => truth(a < b),
            "<=" => truth(a <= b),
            ">" => truth(a > b),
            ">=" => truth(a >= b),
            "==" => truth(a == b),
            "!=" => truth(a != b),
            "abs" => a.abs(),
            "sqrt" => a.sqrt(),
            "exp" => libm::exp(a),
            "log" => libm::log(a),
            "cos" => libm::cos(a),
            "sin" => libm::sin(a),
            "floor" | "int" => a.trunc(),
            "float" => a,
            _ => f64::NAN,
        }
    }
}

/// The operators, longer ones first, and the functions.
const SIGNS: &[&str] =
    &["**", "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")", ","];
const FUNCTIONS: &[&str] =
    &["abs", "sqrt", "exp", "log", "cos", "sin", "floor", "int", "float", "max", "min"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = |ok: &dyn Fn(char) -> bool| rest.find(|c| !ok(c)).unwrap_or(rest.len());
        if first.is_ascii_digit() || first == '.' {
            let mut n = length(&|c| c.is_ascii_digit() || c == '.');
            // An exponent, perhaps with a sign.
            if rest[n..].starts_with(['e', 'E']) {
                let tail = rest[n + 1..].trim_start_matches(['+', '-']);
                let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
                n = rest.len() - tail.len() + digits;
            }
            out.push(Token::Number(rest[..n].parse().with_context(|| format!("no number: {rest:?}"))?));
            rest = rest[n..].trim_start();
        } else if first.is_ascii_alphabetic() || first == '_' {
            let n = length(&|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            out.push(Token::Word(rest[..n].trim_start_matches("math.").to_owned()));
            rest = rest[n..].trim_start();
        } else {
            let sign = SIGNS.iter().find(|s| rest.starts_with(**s));
            let sign = sign.with_context(|| format!("what is {rest:?}?"))?;
            out.push(Token::Sign(sign));
            rest = rest[sign.len()..].trim_start();
        }
    }
    Ok(out)
}

/// Reads tokens by Python's precedence.
struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn take_sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Sign(sign)) if signs.contains(sign) => {
                self.at += 1;
                Some(*sign)
            }
            _ => None,
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == word);
        self.at += usize::from(there);
        there
    }

    /// `a if c else b`.
    fn choice(&mut self) -> Result<Node> {
        let value = self.either()?;
        if !self.take_word("if") {
            return Ok(value);
        }
        let condition = self.either()?;
        ensure!(self.take_word("else"), "an if without else");
        Ok(Node::Call("if", vec![condition, value, self.choice()?]))
    }

    fn either(&mut self) -> Result<Node> {
        let mut left = self.both()?;
        while self.take_word("or") {
            left = Node::Call("or", vec![left, self.both()?]);
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Node> {
        let mut left = self.not()?;
        while self.take_word("and") {
            left = Node::Call("and", vec![left, self.not()?]);
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Node> {
        if self.take_word("not") {
            return Ok(Node::Call("not", vec![self.not()?]));
        }
        let left = self.sum()?;
        match self.take_sign(&["<", "<=", ">", ">=", "==", "!="]) {
            Some(sign) => Ok(Node::Call(sign, vec![left, self.sum()?])),
            None => Ok(left),
        }
    }

    fn sum(&mut self) -> Result<Node> {
        let mut left = self.product()?;
        while let Some(sign) = self.take_sign(&["+", "-"]) {
            left = Node::Call(sign, vec![left, self.product()?]);
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Node> {
        let mut left = self.signed()?;
        while let Some(sign) = self.take_sign(&["*", "/", "//", "%"]) {
            left = Node::Call(sign, vec![left, self.signed()?]);
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Node> {
        match self.take_sign(&["-", "+"]) {
            Some("-") => Ok(Node::Call("neg", vec![self.signed()?])),
            Some(_) => self.signed(),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<Node> {
        let base = self.atom()?;
        match self.take_sign(&["**"]) {
            // To the right first, and with a sign: 2**-x.
            Some(sign) => Ok(Node::Call(sign, vec![base, self.signed()?])),
            None => Ok(base),
        }
    }

    fn atom(&mut self) -> Result<Node> {
        if self.take_sign(&["("]).is_some() {
            let inner = self.choice()?;
            ensure!(self.take_sign(&[")"]).is_some(), "a bracket is open");
            return Ok(inner);
        }
        let token = self.tokens.get(self.at).cloned().context("the formula ends too early")?;
        self.at += 1;
        let word = match token {
            Token::Number(n) => return Ok(Node::Number(n)),
            Token::Sign(sign) => bail!("{sign:?} stands where a value should"),
            Token::Word(word) => word,
        };
        let Some(name) = FUNCTIONS.iter().find(|f| **f == word) else {
            return match word.as_str() {
                "pi" => Ok(Node::Number(PI)),
                "epoch" | "cycle" | "iteration" | "e" | "x" | "t" => Ok(Node::Variable),
                _ => bail!("{word} is neither the variable nor a function"),
            };
        };
        ensure!(self.take_sign(&["("]).is_some(), "{name} without operands");
        let mut operands = vec![self.choice()?];
        while self.take_sign(&[","]).is_some() {
            operands.push(self.choice()?);
        }
        ensure!(self.take_sign(&[")"]).is_some(), "a bracket is open");
        Ok(Node::Call(name, operands))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_have_python_s_values() {
        let rows = [
            ("0.95**epoch", 2.0, 0.9025),
            ("min(1,(epoch+1)/8)", 3.0, 0.5),
            ("1 if epoch<10 else 0.1", 10.0, 0.1),
            ("0.98 if epoch%2 else 1.0", 3.0, 0.98),
            ("1/sqrt(cycle)", 4.0, 0.5),
            ("-2**2 + 3*2**-1", 0.0, -2.5),
            ("2**3**2", 0.0, 512.0),
            ("(1 + math.cos(math.pi * epoch / 4)) / 2", 2.0, 0.5),
            ("1e-1 * (epoch // 3) - -7 % 3", 7.0, -1.8),
            ("1 if 2 <= epoch and not epoch == 3 else 0", 4.0, 1.0),
            ("cosine warmup 5 of 40", 3.0, 0.8),
            ("warmup 5 then cosine to 25", 15.0, 0.5),
        ];
        for (text, x, want) in rows {
            let got = Formula::parse(text).expect(text).at(x);
            assert!((got - want).abs() < 1e-15, "{text} is {got} at {x}");
        }
        for text in ["1 +", "(1", "sqrt 2", "1 if 2", "hello", "1 1", "2 $ 3"] {
            assert!(Formula::parse(text).is_err(), "{text}");
        }
    }
}
