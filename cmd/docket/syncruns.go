package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const syncRuns = "/admin/v1/sync-runs"

func syncRunsCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "sync-runs", Short: "Look after synchronisations of user directories"}
	c.AddCommand(syncRunsList(r), syncRunsShow(r),
		&cobra.Command{Use: "stop ID...", Short: "Stop synchronisations where they are; what they changed stays", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, ids []string) error {
				return r.eachID(cmd, ids, http.MethodPost, syncRuns, "/stop", "stopping")
			}})
	return r.flags(c)
}

// syncRun is one as the server tells of it.
type syncRun struct {
	ID             string     `json:"id"`
	DirectoryID    string     `json:"directoryId"`
	OrganizationID string     `json:"organizationId"`
	Status         string     `json:"status"`
	Stopping       bool       `json:"stopping"`
	Code           string     `json:"code"`
	Reason         string     `json:"reason"`
	Due            *time.Time `json:"due"`
	StartedAt      time.Time  `json:"startedAt"`
	EndedAt        *time.Time `json:"endedAt"`
	Counts         struct {
		Users  syncTally `json:"users"`
		Groups syncTally `json:"groups"`
	} `json:"counts"`
	Errors []struct {
		Kind       string `json:"kind"`
		ExternalID string `json:"externalId"`
		Code       string `json:"code"`
		Message    string `json:"message"`
	} `json:"errors"`
}

type syncTally struct {
	Added       int `json:"added"`
	Changed     int `json:"changed"`
	Deactivated int `json:"deactivated"`
	Unchanged   int `json:"unchanged"`
	Failed      int `json:"failed"`
}

// String is what became of entries, without what there was none of.
func (t syncTally) String() string {
	var parts []string
	for _, of := range []struct {
		n    int
		what string
	}{{t.Added, "added"}, {t.Changed, "changed"}, {t.Deactivated, "deactivated"}, {t.Unchanged, "unchanged"}, {t.Failed, "failed"}} {
		if of.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", of.n, of.what))
		}
	}
	return strings.Join(parts, ", ")
}

// state is how a run is.
func (s syncRun) state() string {
	if s.Status == "Running" && s.Stopping {
		return "Running, stopping"
	}
	return s.Status
}

func (s syncRun) cells() []any {
	return []any{s.ID, s.DirectoryID, s.state(), moment(s.StartedAt), s.ended(), s.Counts.Users, s.Counts.Groups, s.Reason}
}

// ended is when a run ended, "" while it runs.
func (s syncRun) ended() string {
	if s.EndedAt == nil {
		return ""
	}
	return moment(*s.EndedAt)
}

func syncRunsList(r *remote) *cobra.Command {
	var directory, status, organization string
	limit := 50
	c := &cobra.Command{
		Use: "list", Short: "Show synchronisations, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, r, syncRuns, map[string]string{"limit": strconv.Itoa(limit), "directory": directory, "status": status, "organization": organization},
				[]string{"RUN", "DIRECTORY", "STATUS", "STARTED", "ENDED", "USERS", "GROUPS", ""}, syncRun.cells)
		},
	}
	c.Flags().StringVar(&directory, "directory", "", "only those of one user directory")
	c.Flags().StringVar(&status, "status", "", "only those that are Running or ended in Success, Stopped or Error")
	c.Flags().StringVar(&organization, "organization", "", "only those of this organization")
	c.Flags().IntVar(&limit, "limit", limit, "at most so many (up to 1000)")
	return c
}

func syncRunsShow(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a synchronisation with the entries that could not be taken over", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			var raw json.RawMessage
			if err := r.get(cmd.Context(), api, syncRuns+"/"+url.PathEscape(args[0]), &raw); err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), raw)
			}
			var s syncRun
			if err := json.Unmarshal(raw, &s); err != nil {
				return err
			}
			return s.print(cmd.OutOrStdout())
		},
	}
}

// print tells of a run, and of what could not be taken over.
func (s syncRun) print(out io.Writer) error {
	t := newTable(out, "RUN", s.ID)
	t.row("DIRECTORY", s.DirectoryID)
	t.row("ORGANIZATION", s.OrganizationID)
	t.row("STATUS", s.state())
	if s.Code != "" {
		t.row("REASON", s.Code+": "+s.Reason)
	}
	if s.Due != nil {
		t.row("DUE", moment(*s.Due))
	}
	t.row("STARTED", moment(s.StartedAt))
	t.row("ENDED", s.ended())
	t.row("USERS", s.Counts.Users)
	t.row("GROUPS", s.Counts.Groups)
	if err := t.flush(); err != nil || len(s.Errors) == 0 {
		return err
	}
	say(out, "\n")
	t = newTable(out, "ENTRY", "ID", "CODE", "MESSAGE")
	for _, e := range s.Errors {
		t.row(e.Kind, e.ExternalID, e.Code, e.Message)
	}
	return t.flush()
}
