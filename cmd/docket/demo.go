package main

import (
	"fmt"
	"io"
	"time"

	"docket/cmd/docket/client"
	"docket/cmd/docket/demo"

	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	r := &remote{}
	sizes := demo.Sizes{}
	c := &cobra.Command{
		Use: "demo", Short: "Fill a running server with sample data through its own APIs", Args: cobra.NoArgs,
		Long: "What is there already is left as it is, so the command can be interrupted, run again, and run with greater sizes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := sizes.Check(); err != nil {
				return usage{err}
			}
			if r.conns < 1 {
				return usage{fmt.Errorf("--concurrency must be at least 1")}
			}
			api, err := r.client()
			if err != nil {
				return err
			}
			p := stages{newProgress(cmd.ErrOrStderr(), 0)}
			f := demo.Filler{API: api, Sizes: sizes, Concurrency: r.conns, Progress: p.show}
			start := time.Now()
			look, err := f.Run(cmd.Context())
			p.end()
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), look)
			}
			say(cmd.OutOrStdout(), "\nDone in %s. Look at it:\n\n", time.Since(start).Round(100*time.Millisecond))
			return lookAround(cmd.OutOrStdout(), api, look)
		},
	}
	flags := c.Flags()
	flags.IntVar(&sizes.Organizations, "organizations", 5, "organizations below yours")
	flags.IntVar(&sizes.Groups, "groups", 40, "groups")
	flags.IntVar(&sizes.Users, "users", 500, "users and recipients")
	flags.IntVar(&sizes.Projects, "projects", 50, "projects with reports")
	flags.IntVar(&sizes.Tasks, "tasks", 2000, "tasks with recipients")
	flags.IntVar(&r.conns, "concurrency", 8, "requests at a time")
	return r.flags(c)
}

// stages shows how far each stage of the demo is.
type stages struct{ *progress }

func (p stages) show(s demo.Stage) {
	line := fmt.Sprintf("%-20s %6d of %d", s.Name, s.Done, s.Total)
	if s.Made > 0 {
		line += fmt.Sprintf(", %d made, %.0f/s", s.Made, float64(s.Made)/s.Took.Seconds())
	}
	p.line(s.Done == s.Total, "%s", line)
}

// lookAround prints commands to look at what there is. The key stays out of them.
func lookAround(out io.Writer, api *client.Client, look demo.Example) error {
	_, err := fmt.Fprintf(out, `  U=%[1]s
  KEY=...   # your API key; the first administrator's is in the data folder, bootstrap.key

  # Qalyptus: tasks filtered and sorted (-g: curl must leave the brackets alone)
  curl -sg -H "Authorization: Bearer $KEY" "$U/api/v2/tasks?name[contains]=revenue&sort_by=createdDate&sort_direction=desc&page_size=5"
  # recipients of a task
  curl -s -H "Authorization: Bearer $KEY" "$U/api/v2/tasks/%[2]s/recipients"
  # people by name
  curl -sg -H "Authorization: Bearer $KEY" "$U/api/v2/users?full_name[startswith]=a&sort_by=email"
  # Qlik: the groups of your own organization
  curl -sG -H "Authorization: Bearer $KEY" "$U/api/v1/groups" --data-urlencode 'filter=name sw "HQ"'
  # what was done to a task, and by whom
  curl -s -H "Authorization: Bearer $KEY" "$U/admin/v1/streams/task-%[2]s/events"
  # the newest events of all
  curl -s -H "Authorization: Bearer $KEY" "$U/admin/v1/events?order=desc&limit=5"
  # the read models
  curl -s -H "Authorization: Bearer $KEY" "$U/admin/v1/projections"

Documentation: %[1]s/
`, api.URL, look.Task)
	return err
}
