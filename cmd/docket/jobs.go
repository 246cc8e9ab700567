package main

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func jobsCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "jobs", Short: "Look after what is done outside of Docket because of events"}
	c.AddCommand(jobsList(r),
		jobsChange(r, "retry", "Have dead or cancelled jobs begin again, and waiting ones go on now", "begins again"),
		jobsChange(r, "cancel", "Cancel jobs; what comes of them is recorded as of jobs given up", "is being cancelled"))
	return r.flags(c)
}

// job is one as the server tells of it.
type job struct {
	ID          int64      `json:"id"`
	Kind        string     `json:"kind"`
	State       string     `json:"state"`
	EventID     string     `json:"eventId"`
	Attempt     int        `json:"attempt"`
	MaxAttempts int        `json:"maxAttempts"`
	Run         int        `json:"run"`
	CreatedAt   time.Time  `json:"createdAt"`
	DueAt       *time.Time `json:"dueAt"`
	Error       string     `json:"error"`
	Cancelling  bool       `json:"cancelling"`
}

func (j job) cells() []any {
	due, state := "", j.State
	if j.DueAt != nil {
		due = moment(*j.DueAt)
	}
	if j.Cancelling {
		state += ", cancelling"
	}
	return []any{j.ID, j.Kind, state, fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts), j.Run, moment(j.CreatedAt), due, j.EventID, j.Error}
}

func jobsList(r *remote) *cobra.Command {
	var state, kind, event string
	limit := 50
	c := &cobra.Command{
		Use: "list", Short: "Show jobs, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, r, "/admin/v1/jobs", map[string]string{"limit": strconv.Itoa(limit), "state": state, "kind": kind, "event": event},
				[]string{"JOB", "KIND", "STATE", "ATTEMPT", "RUN", "CREATED", "DUE", "EVENT", ""}, job.cells)
		},
	}
	c.Flags().StringVar(&state, "state", "", "only waiting, retrying, running, done, dead or cancelled ones")
	c.Flags().StringVar(&kind, "kind", "", "only those of one kind")
	c.Flags().StringVar(&event, "event", "", "only those that an event led to")
	c.Flags().IntVar(&limit, "limit", limit, "at most so many (up to 1000)")
	return c
}

// jobsChange is a command that does the same to each job.
func jobsChange(r *remote, operation, short, done string) *cobra.Command {
	return &cobra.Command{
		Use: operation + " JOB...", Short: short, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			for _, id := range args {
				if _, err := strconv.ParseInt(id, 10, 64); err != nil {
					return usage{fmt.Errorf("%q is no job: docket jobs list shows their numbers", id)}
				}
			}
			for _, id := range args {
				if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: "/admin/v1/jobs/" + id + "/" + operation}, nil); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.ErrOrStderr(), "job %s %s\n", id, done); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
