package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func reactorsCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "reactors", Short: "Look after what Docket does by itself because of events"}
	c.AddCommand(reactorsList(r), reactorsSkip(r))
	return r.flags(c)
}

// reactor is one as the server tells of it.
type reactor struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Position int64  `json:"position"`
	Retry    string `json:"retry"`
	Failure  *struct {
		EventID   string `json:"eventId"`
		EventType string `json:"eventType"`
		Stream    string `json:"stream"`
		Revision  int64  `json:"revision"`
		Error     string `json:"error"`
	} `json:"failure"`
}

// note says what is going on with a reactor, if anything.
func (r reactor) note() string {
	if f := r.Failure; f != nil {
		return fmt.Sprintf("stopped at event %s, %s %s@%d: %s", f.EventID, f.EventType, f.Stream, f.Revision, f.Error)
	}
	return r.Retry
}

func reactorsList(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the condition of the reactors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd, r, "/admin/v1/reactors", nil, []string{"REACTOR", "STATE", "POSITION", ""}, func(one reactor) []any {
				return []any{one.Name, one.State, one.Position, one.note()}
			})
		},
	}
}

func reactorsSkip(r *remote) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "skip REACTOR EVENT", Short: "Make a stopped reactor leave out the event it is stopped at", Args: cobra.ExactArgs(2),
		Long: "What the reactor would have done because of the event is not done, now or later. Your name and reason are kept.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usage{fmt.Errorf("--reason is needed: it is kept beside the skip")}
			}
			api, err := r.client()
			if err != nil {
				return err
			}
			body := map[string]string{"eventId": args[1], "reason": reason}
			path := "/admin/v1/reactors/" + url.PathEscape(args[0]) + "/skip"
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: path, Body: body}, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s goes on without event %s\n", args[0], args[1])
			return err
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why")
	return c
}
