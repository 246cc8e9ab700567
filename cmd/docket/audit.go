package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

// change is what is shown of a change in the table.
type change struct {
	RecordedAt time.Time `json:"recordedAt"`
	Action     string    `json:"action"`
	Actor      struct {
		ID   string  `json:"id"`
		Name *string `json:"name"`
	} `json:"actor"`
	Dialect   string `json:"dialect"`
	Command   string `json:"command"`
	Aggregate struct {
		Stream string  `json:"stream"`
		Name   *string `json:"name"`
	} `json:"aggregate"`
	Changes []struct {
		Field  string          `json:"field"`
		Before json.RawMessage `json:"before"`
		After  json.RawMessage `json:"after"`
	} `json:"changes"`
	Problem string `json:"problem"`
}

// Formats of docket audit.
const (
	asTable = "table"
	asCSV   = "csv"
	asLines = "jsonl"
)

func auditCommand() *cobra.Command {
	r := &remote{}
	f := filters{}
	var format string
	var limit int
	var newest bool
	c := &cobra.Command{
		Use: "audit", Short: "Tell who changed what and when, with before and after", Args: cobra.NoArgs,
		Example: "  docket audit --aggregate task-<id>\n  docket audit --actor <id> --from 2026-01-31T00:00:00Z --newest\n  docket audit --org <id> --format csv > audit.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.json {
				format = asLines
			}
			q := f.query()
			if newest {
				q.Set("order", "desc")
			}
			switch {
			case format != asTable && format != asCSV && format != asLines:
				return usage{errors.New("--format must be table, csv or jsonl")}
			case format != asTable && cmd.Flags().Changed("limit"):
				return usage{errors.New("--limit is for tables; " + format + " has everything")}
			}
			api, err := r.client()
			if err != nil {
				return err
			}
			if format != asTable {
				q.Set("format", format)
				return api.Stream(cmd.Context(), client.Request{Method: "GET", Path: "/admin/v1/audit?" + q.Encode()}, cmd.OutOrStdout())
			}
			return changeTable(cmd.Context(), api, q, limit, cmd.OutOrStdout())
		},
	}
	f.changeFlags(c)
	c.Flags().StringVar(&format, "format", asTable, "table, csv or jsonl (JSON lines)")
	c.Flags().IntVar(&limit, "limit", 100, "how many changes a table shows; 0 for all")
	c.Flags().BoolVar(&newest, "newest", false, "newest first")
	return r.flags(c)
}

// changeFlags are the filters of changes.
func (f filters) changeFlags(c *cobra.Command) {
	for _, x := range []struct{ flag, name, help string }{
		{"actor", "actor", "by a user (id)"}, {"api-key", "apiKey", "with an API key (id)"}, {"kind", "kind", "of things of a kind: task, user, group ..."},
		{"aggregate", "aggregate", "of one thing: its id, or its stream, such as task-<id>"},
		{"org", "organization", "by users who worked in an organization, or of things that belong to it (id)"},
		{"dialect", "dialect", "through one API: qalyptus, qlik, admin, system ..."}, {"command", "command", "by one command, such as reporting.create-task"},
		{"correlation", "correlation", "of one request and what it led to (id)"},
		{"from", "from", "recorded at this time or later (RFC 3339)"}, {"to", "to", "recorded before this time (RFC 3339)"},
	} {
		f[x.name] = c.Flags().String(x.flag, "", x.help)
	}
}

// changeTable prints a line per member that changed, a table per page.
func changeTable(ctx context.Context, api *client.Client, q url.Values, limit int, out io.Writer) error {
	for seen := 0; limit == 0 || seen < limit; {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-seen)
		}
		q.Set("limit", strconv.Itoa(size))
		var p struct {
			Items []change `json:"items"`
			Next  *string  `json:"next"`
		}
		if err := api.Do(ctx, client.Request{Method: "GET", Path: "/admin/v1/audit?" + q.Encode()}, &p); err != nil {
			return err
		}
		t := newTable(out, "WHEN", "WHO", "THROUGH", "COMMAND", "WHAT", "FIELD", "BEFORE", "AFTER")
		for _, c := range p.Items {
			c.rows(t)
		}
		if err := t.flush(); err != nil {
			return err
		}
		if seen += len(p.Items); p.Next == nil {
			break
		}
		q.Set("after", *p.Next)
	}
	return nil
}

func (c change) rows(t *table) {
	who, what := named(c.Actor.Name, c.Actor.ID), named(c.Aggregate.Name, c.Aggregate.Stream)
	if c.Problem != "" {
		t.row(moment(c.RecordedAt), who, c.Dialect, c.Command, what, "problem:", c.Problem)
	}
	if len(c.Changes) == 0 && c.Problem == "" {
		t.row(moment(c.RecordedAt), who, c.Dialect, c.Command, what, "", "", "")
	}
	for _, f := range c.Changes {
		t.row(moment(c.RecordedAt), who, c.Dialect, c.Command, what, f.Field, short(f.Before), short(f.After))
	}
}

// named is a name with the id it stands for.
func named(name *string, id string) string {
	if name == nil || *name == "" {
		return id
	}
	return fmt.Sprintf("%s (%s)", *name, id)
}

// widest is how much of a value a table shows.
const widest = 60

// short is a value in a table.
func short(value json.RawMessage) string {
	var s string
	switch {
	case bytes.Equal(value, []byte("null")):
		return "-"
	case json.Unmarshal(value, &s) != nil:
		s = string(value)
	}
	if runes := []rune(s); len(runes) > widest {
		return string(runes[:widest-3]) + "..."
	}
	return s
}
