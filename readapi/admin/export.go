package admin

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"docket/domain/fault"
	"docket/internal/httpx"

	"github.com/google/uuid"
)

// format is a way to write a whole list of changes.
type format struct {
	name, media string
	writer      func(io.Writer) (changeWriter, error)
}

var exports = []format{
	{"csv", "text/csv", newCSV},
	{"jsonl", "application/jsonl", newLines},
}

// changeWriter writes changes one after the other.
type changeWriter interface {
	write(Change) error
	flush() error
}

// accepts tells whether an Accept header asks for a format in so many words and
// not for JSON before it.
func accepts(header string, f format) bool {
	for _, one := range strings.Split(header, ",") {
		switch media, _, _ := mime.ParseMediaType(one); media {
		case f.media:
			return true
		case "application/json", "*/*":
			return false
		case "application/x-ndjson":
			return f.name == "jsonl"
		}
	}
	return false
}

// exportPage is how many changes an export holds in memory.
const exportPage = 200

// export streams all changes that are there now.
func (r *reads) export(ctx context.Context, in *listChanges, q changesQuery, f format) (*httpx.Raw, error) {
	if in.Limit.Set {
		return nil, fault.InvalidQuery("limit", "is for pages of JSON; %s has everything", f.name)
	}
	media := f.media
	if f.name == "csv" {
		media += "; charset=utf-8; header=present"
	}
	return &httpx.Raw{Status: http.StatusOK, ContentType: media, Header: http.Header{"Content-Disposition": {`attachment; filename="audit.` + f.name + `"`}},
		Stream: func(w io.Writer) error {
			out, err := f.writer(w)
			if err != nil {
				return err
			}
			return r.pour(ctx, q, out)
		}}, nil
}

// pour writes page after page; no statement or connection stays open meanwhile.
func (r *reads) pour(ctx context.Context, q changesQuery, out changeWriter) error {
	names := newNames(r.Log, actorOf(ctx))
	for {
		heads, err := r.heads(ctx, q, exportPage)
		if err != nil {
			return err
		}
		changes, err := r.changes(ctx, heads, names)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := out.write(c); err != nil {
				return err
			}
		}
		if len(heads) < exportPage {
			return out.flush()
		}
		q.after = &heads[len(heads)-1].Position
	}
}

// lines writes a change per line, as the items of a page are.
type lines struct{ encoder *json.Encoder }

func newLines(w io.Writer) (changeWriter, error) {
	l := lines{json.NewEncoder(w)}
	l.encoder.SetEscapeHTML(false)
	return l, nil
}

func (l lines) write(c Change) error { return l.encoder.Encode(c) }
func (l lines) flush() error         { return nil }

// table writes CSV (RFC 4180): a row per member that changed, or one without a
// field for a change that shows in none.
type table struct{ csv *csv.Writer }

var columns = []string{"position", "recordedAt", "actorId", "actorKind", "actorName", "apiKeyId", "apiKeyName", "organizationId", "organizationName", "dialect",
	"command", "commandId", "causation", "correlation", "action", "kind", "aggregateId", "stream", "aggregateName", "aggregateOrganizations", "events",
	"field", "before", "after", "problem"}

func newCSV(w io.Writer) (changeWriter, error) {
	t := table{csv.NewWriter(w)}
	t.csv.UseCRLF = true
	return t, t.csv.Write(columns)
}

func (t table) write(c Change) error {
	fields := c.Changes
	if len(fields) == 0 {
		fields = []FieldChange{{}}
	}
	for _, f := range fields {
		row, err := c.row(f)
		if err != nil {
			return err
		}
		if err := t.csv.Write(row); err != nil {
			return err
		}
	}
	return nil
}

func (t table) flush() error {
	t.csv.Flush()
	return t.csv.Error()
}

// row has the cells in the order of columns.
func (c Change) row(f FieldChange) ([]string, error) {
	before, err := cell(f.Before)
	if err != nil {
		return nil, err
	}
	after, err := cell(f.After)
	if err != nil {
		return nil, err
	}
	var key Named
	var keyID, aggregate string
	if c.APIKey != nil {
		key, keyID = *c.APIKey, c.APIKey.ID.String()
	}
	if c.Aggregate.ID != nil {
		aggregate = c.Aggregate.ID.String()
	}
	row := []string{strconv.FormatInt(c.Position, 10), c.RecordedAt.Format(time.RFC3339Nano), c.Actor.ID.String(), or(c.Actor.Kind), or(c.Actor.Name), keyID, or(key.Name),
		c.Organization.ID.String(), or(c.Organization.Name), c.Dialect, c.Command, c.CommandID.String(), c.Causation.String(), c.Correlation.String(),
		c.Action, c.Aggregate.Kind, aggregate, c.Aggregate.Stream, or(c.Aggregate.Name), joined(c.Aggregate.Organizations), c.types(), f.Field, before, after, c.Problem}
	for i := range row {
		row[i] = harmless(row[i])
	}
	return row, nil
}

// cell is a text as it is, nothing for null, and JSON for the rest.
func cell(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// harmless keeps a spreadsheet from running what somebody chose as a name.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func or(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func joined(ids []uuid.UUID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, " ")
}

func (c Change) types() string {
	texts := make([]string, len(c.Events))
	for i, e := range c.Events {
		texts[i] = e.Type
	}
	return strings.Join(texts, " ")
}
