package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func projectionsCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "projections", Short: "Look after the read models"}
	c.AddCommand(projectionsList(r), projectionsRebuild(r), projectionsVerify(r), projectionsSkip(r))
	return r.flags(c)
}

// projection is a group of read models.
type projection struct {
	Group         string  `json:"group"`
	Version       string  `json:"version"`
	State         string  `json:"state"`
	Position      int64   `json:"position"`
	Lag           *int64  `json:"lag"`
	BehindSeconds float64 `json:"behindSeconds"`
	Failure       *struct {
		EventID   *string `json:"eventId"`
		EventType string  `json:"eventType"`
		Stream    string  `json:"stream"`
		Revision  int64   `json:"revision"`
		Error     string  `json:"error"`
	} `json:"failure"`
	Build *struct {
		Phase  string `json:"phase"`
		Events int64  `json:"events"`
	} `json:"build"`
	LastRebuild *struct {
		StartedAt  time.Time  `json:"startedAt"`
		FinishedAt *time.Time `json:"finishedAt"`
		Failed     bool       `json:"failed"`
	} `json:"lastRebuild"`
}

// note says what is going on with a group, if anything.
func (p projection) note() string {
	switch {
	case p.Failure != nil && p.Failure.EventID != nil:
		f := p.Failure
		return fmt.Sprintf("stopped at event %s, %s %s@%d: %s", *f.EventID, f.EventType, f.Stream, f.Revision, f.Error)
	case p.Failure != nil:
		return p.Failure.Error
	case p.Build != nil:
		return fmt.Sprintf("%s, %d events", p.Build.Phase, p.Build.Events)
	}
	return ""
}

func (p projection) cells() []any {
	lag := "?"
	if p.Lag != nil {
		lag = fmt.Sprint(*p.Lag)
	}
	behind := time.Duration(p.BehindSeconds * float64(time.Second)).Round(time.Millisecond)
	return []any{p.Group, p.State, p.Position, lag, behind, p.Version, p.note()}
}

func projectionsList(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the condition of the read models", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, r, "/admin/v1/projections", nil, []string{"GROUP", "STATE", "POSITION", "LAG", "BEHIND", "VERSION", ""}, projection.cells)
		},
	}
}

func projectionPath(group, operation string) string {
	return "/admin/v1/projections/" + url.PathEscape(group) + "/" + operation
}

func projectionsRebuild(r *remote) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: "rebuild GROUP", Short: "Build a group anew from the whole log, beside the live tables", Args: cobra.ExactArgs(1),
		Long: "Reads go on from the old tables until the new ones are swapped in. Interrupting the command does not stop the rebuild.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: projectionPath(args[0], "rebuild")}, nil); err != nil {
				return err
			}
			if noWait {
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "under way; docket projections list shows how far it is")
				return err
			}
			return r.awaitRebuild(cmd.Context(), api, args[0], cmd.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&noWait, "no-wait", false, "return once it is under way")
	return c
}

// awaitRebuild shows progress until the rebuild has ended.
func (r *remote) awaitRebuild(ctx context.Context, api *client.Client, group string, progress io.Writer) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	shown := ""
	for {
		var all struct{ Items []projection }
		if err := r.get(ctx, api, "/admin/v1/projections", &all); err != nil {
			return err
		}
		for _, p := range all.Items {
			if p.Group != group || p.LastRebuild == nil {
				continue
			}
			if done := p.LastRebuild; done.FinishedAt != nil {
				if done.Failed {
					return fmt.Errorf("the rebuild of %s failed, the old tables stay; the server's log says why", group)
				}
				_, err := fmt.Fprintf(progress, "rebuilt %s in %s\n", group, done.FinishedAt.Sub(done.StartedAt).Round(time.Millisecond))
				return err
			}
			if now := p.note(); now != shown {
				shown = now
				say(progress, "%s\n", now)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func projectionsVerify(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "verify GROUP", Short: "Compare a group with what the log says, row by row", Args: cobra.ExactArgs(1),
		Long: "Builds the group's tables beside the live ones, compares them and drops them. The exit code is 5 when they differ.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: projectionPath(args[0], "verify")}, &raw); err != nil {
				return err
			}
			return r.printVerification(cmd.OutOrStdout(), raw)
		},
	}
}

func (r *remote) printVerification(out io.Writer, raw json.RawMessage) error {
	var v struct {
		Group       string
		Position    int64
		Rows        int64
		Differences int64
		Seconds     float64
		Examples    []struct {
			Table, Key, Kind string
			Columns          []string
		}
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	if r.json {
		if err := printJSON(out, raw); err != nil {
			return err
		}
	} else {
		say(out, "%s: %d rows at position %d, %d differences (%.1f s)\n", v.Group, v.Rows, v.Position, v.Differences, v.Seconds)
		if len(v.Examples) > 0 {
			t := newTable(out, "TABLE", "KEY", "ROW IS", "COLUMNS")
			for _, d := range v.Examples {
				t.row(d.Table, d.Key, d.Kind, strings.Join(d.Columns, " "))
			}
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	if v.Differences > 0 {
		return errDifferent
	}
	return nil
}

func projectionsSkip(r *remote) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "skip GROUP EVENT", Short: "Make a stopped group leave out the event it is stopped at", Args: cobra.ExactArgs(2),
		Long: "The group goes on without the event, now and in every rebuild. Your name and reason are kept.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage{fmt.Errorf("--reason is needed: it is kept beside the skip")}
			}
			api, err := r.client()
			if err != nil {
				return err
			}
			body := map[string]string{"eventId": args[1], "reason": reason}
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: projectionPath(args[0], "skip"), Body: body}, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s goes on without event %s\n", args[0], args[1])
			return err
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}
