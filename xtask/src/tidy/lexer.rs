//! Splits Rust source into code and comments, so that a rule about one is not fooled by the other or by a string.

/// One line of a source file, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The code, with the contents of string and character literals left out.
    pub code: String,
    /// The text of comments and doc comments.
    pub comment: String,
}

impl Line {
    /// Whether `word` stands in the code, not as a part of a longer identifier.
    pub fn has_word(&self, word: &str) -> bool {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        self.code.match_indices(word).any(|(at, _)| {
            !inside(self.code[..at].chars().next_back())
                && !inside(self.code[at + word.len()..].chars().next())
        })
    }
}

enum State {
    Code,
    LineComment,
    /// How deep block comments are nested.
    BlockComment(usize),
    String,
    /// The number of `#` that close the raw string.
    RawString(usize),
}

/// The lines of `text`.
pub fn lines(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            i += 1;
            continue;
        }
        let Some(line) = lines.last_mut() else { break };
        let mut step = 1;
        match state {
            State::Code => match c {
                '/' if at(i + 1) == '/' => (state, step) = (State::LineComment, 2),
                '/' if at(i + 1) == '*' => (state, step) = (State::BlockComment(1), 2),
                '"' => {
                    line.code.push('"');
                    state = State::String;
                }
                'r' if raw_hashes(&chars, i).is_some() => {
                    let hashes = raw_hashes(&chars, i).unwrap_or(0);
                    line.code.push('"');
                    (state, step) = (State::RawString(hashes), 2 + hashes);
                }
                '\'' => {
                    step = char_literal(&chars, i).unwrap_or(1);
                    line.code.push('\'');
                }
                _ => line.code.push(c),
            },
            State::LineComment => line.comment.push(c),
            State::BlockComment(depth) => match (c, at(i + 1)) {
                ('*', '/') => {
                    state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
                    step = 2;
                }
                ('/', '*') => (state, step) = (State::BlockComment(depth + 1), 2),
                _ => line.comment.push(c),
            },
            // A backslash at the end of a line must not swallow the line break, or lines would be miscounted.
            State::String => match c {
                '\\' if at(i + 1) != '\n' => step = 2,
                '"' => {
                    line.code.push('"');
                    state = State::Code;
                }
                _ => {}
            },
            State::RawString(hashes) => {
                if c == '"' && (1..=hashes).all(|h| at(i + h) == '#') {
                    line.code.push('"');
                    (state, step) = (State::Code, 1 + hashes);
                }
            }
        }
        i += step;
    }
    lines
}

/// The number of `#` of the raw string that starts with the `r` at `i`, if one does.
fn raw_hashes(chars: &[char], i: usize) -> Option<usize> {
    // `br"` and `cr"` start raw strings too; any other letter before the `r` means the end of an identifier.
    let start = if i > 0 && matches!(chars[i - 1], 'b' | 'c') { i - 1 } else { i };
    if start > 0 && (chars[start - 1].is_alphanumeric() || chars[start - 1] == '_') {
        return None;
    }
    let hashes = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
    (chars.get(i + 1 + hashes) == Some(&'"')).then_some(hashes)
}

/// The length of the character literal that starts with the `'` at `i`; none when it starts a lifetime or label.
fn char_literal(chars: &[char], i: usize) -> Option<usize> {
    if chars.get(i + 1) == Some(&'\\') {
        // The escaped character itself may be a quote; the literal ends at the next one, on the same line.
        let rest = chars.get(i + 3..)?;
        let end = rest.iter().take_while(|&&c| c != '\n').position(|&c| c == '\'')?;
        return Some(end + 4);
    }
    (chars.get(i + 2) == Some(&'\'')).then_some(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        lines(text).iter().map(|l| l.code.as_str()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        assert_eq!(code("let a = 1; // unsafe\nb"), "let a = 1; \nb");
        assert_eq!(code("/* a /* b */ unsafe */ c"), " c");
        assert_eq!(code(r#"f("unsafe \" // no"); g"#), r#"f(""); g"#);
        assert_eq!(code("f(r#\"a \" b\"#); br\"x\"; g"), "f(\"\"); b\"\"; g");
        assert_eq!(
            code("let q = '\"'; let e = '\\''; let u = '\\u{41}'; x"),
            "let q = '; let e = '; let u = '; x"
        );
        assert_eq!(code("fn f<'a>(x: &'a str) -> &'a str { x }"), "fn f<'a>(x: &'a str) -> &'a str { x }");
        assert_eq!(code("let r#type = 1; var\"s\""), "let r#type = 1; var\"\"");
    }

    #[test]
    fn strings_over_several_lines_keep_the_line_count() {
        let text = "a(\"one\ntwo \\\n three\");\n/* x\ny */ b";
        let lines = lines(text);
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[2].code, "\");");
        assert_eq!(lines[4].code, " b");
        assert_eq!(lines[4].comment, "y ");
    }

    #[test]
    fn words_are_whole() {
        let line = &lines("unsafe_op; my_unsafe; unsafe{}")[0];
        assert!(line.has_word("unsafe"));
        assert!(!lines("unsafe_op(my_unsafe)")[0].has_word("unsafe"));
    }
}
