package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func eventsCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "events", Short: "Look into the event log"}
	c.AddCommand(eventsList(r), eventsShow(r), eventsStream(r), eventsState(r), eventsFollow(r))
	return r.flags(c)
}

// event is what is shown of an event; raw is all of it.
type event struct {
	Position   int64           `json:"position"`
	Type       string          `json:"type"`
	Stream     string          `json:"stream"`
	Revision   int64           `json:"revision"`
	RecordedAt time.Time       `json:"recordedAt"`
	Actor      string          `json:"actor"`
	Dialect    string          `json:"dialect"`
	Data       json.RawMessage `json:"data"`
	Problem    string          `json:"problem"`
	raw        json.RawMessage
}

// UnmarshalJSON keeps the whole for --json.
func (e *event) UnmarshalJSON(data []byte) error {
	type plain event
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	e.raw = bytes.Clone(data)
	return nil
}

type eventPage struct {
	Items []event `json:"items"`
	Next  *string `json:"next"`
}

// filters are those of the API, by its names.
type filters map[string]*string

func (f filters) flags(c *cobra.Command) {
	for _, x := range []struct{ name, help string }{
		{"stream", "of one stream, such as task-<id>"}, {"type", "of one type, or of all that begin so when it ends in a dot (reporting.)"},
		{"actor", "by a user (id)"}, {"organization", "by users who worked in an organization (id)"}, {"dialect", "through one API: qalyptus, qlik, admin, system ..."},
		{"command", "by one command, such as reporting.create-task"}, {"correlation", "of one request and what it led to (id)"},
	} {
		f[x.name] = c.Flags().String(x.name, "", x.help)
	}
}

// query is what was asked for.
func (f filters) query() url.Values {
	q := url.Values{}
	for name, value := range f {
		if *value != "" {
			q.Set(name, *value)
		}
	}
	return q
}

const pageSize = 500 // events asked for at once

// pages reads events page by page until limit (0 for all) or the end, and
// returns the position of the last one.
func pages(ctx context.Context, api *client.Client, path string, q url.Values, limit int, show func(event) error) (int64, error) {
	var last int64
	for seen := 0; limit == 0 || seen < limit; {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-seen)
		}
		q.Set("limit", strconv.Itoa(size))
		var p eventPage
		if err := api.Do(ctx, client.Request{Method: "GET", Path: path + "?" + q.Encode()}, &p); err != nil {
			return last, err
		}
		for _, e := range p.Items {
			last = e.Position
			if err := show(e); err != nil {
				return last, err
			}
		}
		if seen += len(p.Items); p.Next == nil {
			break
		}
		q.Set("after", *p.Next)
	}
	return last, nil
}

// printEvents shows events: JSON lines, or a line each with what it says below.
func (r *remote) printEvents(out io.Writer) func(event) error {
	return func(e event) error {
		if r.json {
			return printLine(out, e.raw)
		}
		data := string(e.Data)
		if e.Problem != "" {
			data = e.Problem + ": " + data
		}
		_, err := fmt.Fprintf(out, "%s  %-40s %s@%d  by %s through %s, position %d\n    %s\n", moment(e.RecordedAt), e.Type, e.Stream, e.Revision, e.Actor, e.Dialect, e.Position, data)
		return err
	}
}

func eventsList(r *remote) *cobra.Command {
	f := filters{}
	var from, to string
	var limit int
	var newest bool
	c := &cobra.Command{
		Use: "list", Short: "List events of the whole log, filtered", Args: cobra.NoArgs,
		Example: "  docket events list --actor <id> --from 2026-01-31T00:00:00Z\n  docket events list --type reporting. --newest --limit 20",
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			q := f.query()
			for name, value := range map[string]string{"from": from, "to": to} {
				if value != "" {
					q.Set(name, value)
				}
			}
			if newest {
				q.Set("order", "desc")
			}
			_, err = pages(cmd.Context(), api, "/admin/v1/events", q, limit, r.printEvents(cmd.OutOrStdout()))
			return err
		},
	}
	f.flags(c)
	c.Flags().StringVar(&from, "from", "", "recorded at this time or later (RFC 3339)")
	c.Flags().StringVar(&to, "to", "", "recorded before this time (RFC 3339)")
	c.Flags().IntVar(&limit, "limit", 100, "how many; 0 for all")
	c.Flags().BoolVar(&newest, "newest", false, "newest first")
	return c
}

func eventsShow(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one event with everything that is known of it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			var e json.RawMessage
			if err := r.get(cmd.Context(), api, "/admin/v1/events/"+url.PathEscape(args[0]), &e); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), e)
		},
	}
}

func eventsStream(r *remote) *cobra.Command {
	var from int64
	var limit int
	c := &cobra.Command{
		Use: "stream STREAM", Short: "List the events of one thing, such as task-<id>", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			q := url.Values{"from": {strconv.FormatInt(from, 10)}}
			_, err = pages(cmd.Context(), api, "/admin/v1/streams/"+url.PathEscape(args[0])+"/events", q, limit, r.printEvents(cmd.OutOrStdout()))
			return err
		},
	}
	c.Flags().Int64Var(&from, "from", 0, "first revision")
	c.Flags().IntVar(&limit, "limit", 0, "how many; 0 for all")
	return c
}

func eventsState(r *remote) *cobra.Command {
	var revision int64
	var at string
	c := &cobra.Command{
		Use: "state STREAM", Short: "Show one thing as it is, or was at a revision or time", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			q := url.Values{}
			if cmd.Flags().Changed("revision") {
				q.Set("revision", strconv.FormatInt(revision, 10))
			}
			if at != "" {
				q.Set("time", at)
			}
			var state json.RawMessage
			if err := r.get(cmd.Context(), api, "/admin/v1/streams/"+url.PathEscape(args[0])+"/state?"+q.Encode(), &state); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), state)
		},
	}
	c.Flags().Int64Var(&revision, "revision", 0, "as of this revision")
	c.Flags().StringVar(&at, "time", "", "as of this time (RFC 3339)")
	return c
}

func eventsFollow(r *remote) *cobra.Command {
	f := filters{}
	var after int64
	var interval time.Duration
	c := &cobra.Command{
		Use: "follow", Short: "Show events as they come, until interrupted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if !cmd.Flags().Changed("after") {
				// From now on: behind the newest event of all, filtered or not.
				if after, err = pages(ctx, api, "/admin/v1/events", url.Values{"order": {"desc"}}, 1, func(event) error { return nil }); err != nil {
					return err
				}
			}
			return r.follow(ctx, api, f, after, interval, r.printEvents(cmd.OutOrStdout()))
		},
	}
	f.flags(c)
	c.Flags().Int64Var(&after, "after", 0, "begin behind this position (default: the newest event)")
	c.Flags().DurationVar(&interval, "interval", time.Second, "how often to ask")
	return c
}

// follow asks again and again for what came. A server that is away for a while is
// waited for.
func (r *remote) follow(ctx context.Context, api *client.Client, f filters, after int64, interval time.Duration, show func(event) error) error {
	tick := time.NewTicker(max(interval, 50*time.Millisecond))
	defer tick.Stop()
	for {
		q := f.query()
		q.Set("after", strconv.FormatInt(after, 10))
		last, err := pages(ctx, api, "/admin/v1/events", q, 0, show)
		after = max(after, last)
		switch {
		case ctx.Err() != nil:
			return nil // interrupted, as intended
		case err != nil && !passing(err):
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// passing errors may be over soon.
func passing(err error) bool {
	return exitCode(err) == exitUnreachable || client.Is(err, 503) || client.Is(err, 429)
}
