package safeq

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
)

// columns says where in a row something stands; -1 for nowhere.
type columns struct{ userName, firstName, lastName, email, group int }

// maxColumn is beyond every sensible file.
const maxColumn = 999

// parseMapping reads "userName:0,firstName:1".
func parseMapping(mapping string) (columns, error) {
	c := columns{-1, -1, -1, -1, -1}
	at := map[string]*int{"username": &c.userName, "firstname": &c.firstName, "lastname": &c.lastName, "email": &c.email, "group": &c.group}
	taken := map[int]string{}
	for _, one := range strings.Split(mapping, ",") {
		name, number, found := strings.Cut(strings.TrimSpace(one), ":")
		name = strings.TrimSpace(name)
		field := at[strings.ToLower(name)]
		n, err := strconv.Atoi(strings.TrimSpace(number))
		switch {
		case !found || err != nil || n < 0 || n > maxColumn:
			return c, fault.InvalidField("mapping", "%.40q is no name and number of a column, such as userName:0", one)
		case field == nil:
			return c, fault.InvalidField("mapping", "%.40q is none of userName, firstName, lastName, email, group", name)
		case *field >= 0:
			return c, fault.InvalidField("mapping", "%s is mapped twice", name)
		case taken[n] != "":
			return c, fault.InvalidField("mapping", "column %d is mapped to both %s and %s", n, taken[n], name)
		}
		*field, taken[n] = n, name
	}
	if c.userName < 0 {
		return c, fault.InvalidField("mapping", "must say where userName is")
	}
	return c, nil
}

// parseSeparator reads the character between two columns.
func parseSeparator(text *string) (rune, error) {
	if text == nil || *text == "" {
		return ',', nil
	}
	if *text == `\t` {
		return '\t', nil
	}
	r, size := utf8.DecodeRuneInString(*text)
	if size != len(*text) || r == utf8.RuneError || strings.ContainsRune("\"\r\n\x00", r) {
		return 0, fault.InvalidField("separator", "must be one character, and no quote or line break")
	}
	return r, nil
}

// row is a user of the file. Nil is what no column holds.
type row struct {
	number              int // from 1, the header included
	userName            string
	firstName, lastName *string
	email               *string
	group               string
}

// person is a new user.
func (r row) person() commanded.Person {
	return commanded.Person{UserName: &r.userName, FirstName: text(r.firstName), LastName: text(r.lastName), Email: text(r.email)}
}

// changed is a user with what the file says in place of what was known.
func (r row) changed(u directory.User) commanded.Person {
	p := commanded.PersonOf(u)
	for _, f := range []struct {
		to   *string
		from *string
	}{{&p.FirstName, r.firstName}, {&p.LastName, r.lastName}, {&p.Email, r.email}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return p
}

var bom = []byte("\xef\xbb\xbf")

// readRows reads the whole file. The error names all rows that are wrong, but for
// quotes: what follows a broken one can't be told apart.
func readRows(data []byte, c columns, separator rune, header bool) ([]row, error) {
	data = bytes.TrimPrefix(data, bom)
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fault.InvalidField("data", "must not be empty")
	}
	reader := csv.NewReader(bytes.NewReader(data))
	reader.Comma, reader.FieldsPerRecord, reader.ReuseRecord = separator, -1, true
	var rows []row
	var problems fault.Problems
	refused, names, mails := 0, map[string]int{}, map[string]int{}
	for number := 1; ; number++ {
		fields, err := reader.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fault.InvalidField("data", "row %d: %s", number, csvProblem(err))
		}
		if number == 1 && header {
			continue
		}
		r, problem := c.read(fields, number)
		if problem == "" {
			problem = r.repeats(names, mails)
		}
		if problem != "" {
			if refused++; refused <= maxRefused {
				problems.Add("data", "row %d: %s", number, problem)
			}
			continue
		}
		if rows = append(rows, r); len(rows) > maxRows {
			return nil, fault.InvalidField("data", "has more than %d rows", maxRows)
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fault.InvalidField("data", "holds no user")
	}
	return rows, nil
}

func csvProblem(err error) string {
	switch {
	case errors.Is(err, csv.ErrQuote):
		return "a quote is not closed, or text follows it"
	case errors.Is(err, csv.ErrBareQuote):
		return "a quote stands in a field that does not begin with one"
	}
	return "can't be read"
}

// read takes a row apart.
func (c columns) read(fields []string, number int) (row, string) {
	for _, at := range []int{c.userName, c.firstName, c.lastName, c.email, c.group} {
		if at >= len(fields) {
			return row{}, fmt.Sprintf("has %d columns, and column %d is mapped", len(fields), at)
		}
	}
	for _, f := range fields {
		if !utf8.ValidString(f) || strings.ContainsRune(f, 0) {
			return row{}, "is not UTF-8"
		}
	}
	get := func(at int) *string {
		if at < 0 {
			return nil
		}
		s := strings.Clone(strings.TrimSpace(fields[at]))
		return &s
	}
	r := row{number: number, userName: text(get(c.userName)), firstName: get(c.firstName), lastName: get(c.lastName), email: get(c.email), group: text(get(c.group))}
	if r.userName == "" {
		return r, "has no user name"
	}
	return r, ""
}

// repeats finds what an earlier row said.
func (r row) repeats(names, mails map[string]int) string {
	name, mail := domain.Normal(r.userName), domain.Normal(text(r.email))
	if before := names[name]; before > 0 {
		return fmt.Sprintf("has the user name of row %d", before)
	}
	if before := mails[mail]; mail != "" && before > 0 {
		return fmt.Sprintf("has the mail address of row %d", before)
	}
	names[name] = r.number
	if mail != "" {
		mails[mail] = r.number
	}
	return ""
}
