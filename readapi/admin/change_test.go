package admin

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		before, after string
		want          []FieldChange
	}{
		{`{"A":1,"B":"x"}`, `{"A":1,"B":"x"}`, []FieldChange{}},
		{`{"B":"x","A":12345678901234567890}`, `{"B":"y","A":12345678901234567891}`, nil},
		{``, `{"A":"","B":null,"C":[],"D":false,"E":"0001-01-01T00:00:00Z","Live":true,"ModifiedAt":"x"}`, []FieldChange{{"D", nil, false}}},
		{`{"N":{"Send":true,"To":"a","Live":true}}`, `{"N":{"Send":false,"To":"a","Live":false}}`, []FieldChange{{"N.Live", true, false}, {"N.Send", true, false}}},
		{`{"L":[1,2]}`, `{"L":[2]}`, nil},
		{`{"ClientSecret":"x"}`, `{"ClientSecret":"y"}`, []FieldChange{{"ClientSecret", hidden, hidden}}},
		{`{"Secret":{"Key":"x"}}`, `{"Secret":{"Key":"y"}}`, []FieldChange{{"Secret.Key", nil, nil}}},
	} {
		before, err := membersOf(Image{State: []byte(c.before), Shown: []byte(c.before)})
		require.NoError(t, err)
		after, err := membersOf(Image{State: []byte(c.after), Shown: []byte(c.after)})
		require.NoError(t, err)
		got := compare(before, after)
		if c.want == nil {
			require.NotEmpty(t, got, "%s", c.after)
			continue
		}
		require.Equal(t, c.want, got)
	}
	_, err := membersOf(Image{State: []byte(`{`)})
	require.Error(t, err)
}

func TestNameOf(t *testing.T) {
	for _, c := range []struct {
		state map[string]any
		want  *string
	}{
		{map[string]any{"FirstName": "Ada", "LastName": "Lovelace", "Email": "a@b"}, text("Ada Lovelace")},
		{map[string]any{"FirstName": "", "LastName": "", "UserName": "", "Email": "a@b"}, text("a@b")},
		{map[string]any{"FirstName": hidden, "LastName": hidden}, text(hidden)},
		{map[string]any{"FirstName": "(erased)", "LastName": "(erased)"}, text("(erased)")},
		{map[string]any{"Name": "N", "DisplayName": "D"}, text("N")},
		{map[string]any{"Name": 3}, nil},
		{nil, nil},
	} {
		require.Equal(t, c.want, nameOf(c.state))
	}
}

// What somebody chose as a name must not run in a spreadsheet, nor break a row.
func TestCSV(t *testing.T) {
	var out bytes.Buffer
	w, err := newCSV(&out)
	require.NoError(t, err)
	c := Change{Changes: []FieldChange{{"F", "=1+1", "a\"b,c\nd"}, {"G", nil, []any{"<", "&"}}, {"H", "@x", "\t=x"}}, Problem: "-p"}
	require.NoError(t, w.write(c))
	require.NoError(t, w.write(Change{}))
	require.NoError(t, w.flush())
	text := out.String()
	require.Contains(t, text, ",F,'=1+1,\"a\"\"b,c\r\nd\",'-p\r\n")
	require.Contains(t, text, `,G,,"[""<"",""&""]",'-p`)
	require.Contains(t, text, ",H,'@x,'\t=x,'-p\r\n")
	require.True(t, bytes.HasSuffix(out.Bytes(), []byte(",,,,\r\n")), text)
	for in, want := range map[string]string{"": "", "a=": "a=", "=": "'=", "+": "'+", "-1": "'-1", "@": "'@", "\r=": "'\r=", "'=": "'="} {
		require.Equal(t, want, harmless(in))
	}
}

func TestAccepts(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "*/*": "", "application/json": "", "text/csv": "csv", "text/csv; q=1, */*": "csv", "application/json, text/csv": "", "application/jsonl": "jsonl",
		"text/html, application/x-ndjson": "jsonl", ";;": "",
	} {
		got := ""
		for _, f := range exports {
			if accepts(header, f) {
				got = f.name
				break
			}
		}
		require.Equal(t, want, got, header)
	}
}
