package paper

import (
	"bytes"
	"strconv"
)

// token is a piece of a content stream.
type token struct {
	kind   byte // 'n' number, '/' name, 'o' operator, '[', ']', 's' string and others, 0 end
	text   string
	number float64
}

// lexer takes a content stream apart. Of damaged streams it makes what it can.
type lexer struct {
	b []byte
	i int
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}
func isDelimiter(c byte) bool { return bytes.IndexByte([]byte("()<>[]{}/%"), c) >= 0 }

func (l *lexer) next() token {
	l.skipSpace()
	if l.i >= len(l.b) {
		return token{}
	}
	c := l.b[l.i]
	switch c {
	case '/':
		l.i++
		return token{kind: '/', text: unhash(l.word())}
	case '(':
		l.skipString()
		return token{kind: 's'}
	case '<':
		l.skipAngle()
		return token{kind: 's'}
	case '[', ']':
		l.i++
		return token{kind: c}
	case '>', ')', '{', '}':
		l.i++
		return token{kind: 's'}
	}
	word := l.word()
	if number, ok := parseNumber(word); ok {
		return token{kind: 'n', number: number}
	}
	return token{kind: 'o', text: string(word)}
}

func (l *lexer) skipSpace() {
	for l.i < len(l.b) {
		switch {
		case isSpace(l.b[l.i]):
			l.i++
		case l.b[l.i] == '%':
			for l.i < len(l.b) && l.b[l.i] != '\n' && l.b[l.i] != '\r' {
				l.i++
			}
		default:
			return
		}
	}
}

func (l *lexer) word() []byte {
	start := l.i
	for l.i < len(l.b) && !isSpace(l.b[l.i]) && !isDelimiter(l.b[l.i]) {
		l.i++
	}
	return l.b[start:l.i]
}

func (l *lexer) skipString() {
	for depth := 0; l.i < len(l.b); l.i++ {
		switch l.b[l.i] {
		case '\\':
			l.i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				l.i++
				return
			}
		}
	}
	l.i = len(l.b)
}

// skipAngle passes "<<", whose entries are read like operands, or a string of hexadecimal digits.
func (l *lexer) skipAngle() {
	if l.i+1 < len(l.b) && l.b[l.i+1] == '<' {
		l.i += 2
		return
	}
	if end := bytes.IndexByte(l.b[l.i:], '>'); end >= 0 {
		l.i += end + 1
		return
	}
	l.i = len(l.b)
}

// skipImage passes the data of an inline image: up to an EI that stands alone and
// is not followed by what looks like more data.
func (l *lexer) skipImage() {
	for l.i < len(l.b) {
		at := bytes.Index(l.b[l.i:], []byte("EI"))
		if at < 0 {
			break
		}
		start := l.i + at
		l.i = start + 2
		alone := start > 0 && isSpace(l.b[start-1]) && (l.i == len(l.b) || isSpace(l.b[l.i]))
		if alone && readable(l.b[l.i:min(len(l.b), l.i+10)]) {
			return
		}
	}
	l.i = len(l.b)
}

func readable(b []byte) bool {
	for _, c := range b {
		if c >= 0x7f || c < ' ' && !isSpace(c) {
			return false
		}
	}
	return true
}

func parseNumber(word []byte) (float64, bool) {
	if len(word) == 0 || len(word) > 32 || word[0] > '9' {
		return 0, false
	}
	number, err := strconv.ParseFloat(string(word), 64)
	return number, err == nil
}

// unhash replaces the "#41" of names.
func unhash(name []byte) string {
	if bytes.IndexByte(name, '#') < 0 {
		return string(name)
	}
	out := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		if name[i] == '#' && i+2 < len(name) {
			if c, err := strconv.ParseUint(string(name[i+1:i+3]), 16, 8); err == nil {
				out = append(out, byte(c))
				i += 2
				continue
			}
		}
		out = append(out, name[i])
	}
	return string(out)
}
