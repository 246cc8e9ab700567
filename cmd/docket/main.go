// Docket is an event-sourced backend for report distribution, managed print and
// the directory around them. See README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"docket/cmd/server"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A later signal ends the process at once. One stop may arrive as several
	// signals: a terminal and a supervisor both send to the whole group.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "docket:", err)
		os.Exit(exitCode(err))
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use: "docket", Short: "Event-sourced backend for report distribution, managed print and the directory around them",
		Version: server.Version(), SilenceUsage: true, SilenceErrors: true,
	}
	c.AddCommand(serveCommand(), keyCommand(), accountCommand(), accessKeyCommand(), deviceCommand(), eventsCommand(), eventstoreCommand(), auditCommand(), projectionsCommand(), reactorsCommand(), jobsCommand(), syncRunsCommand(), importCommand(), openapiCommand(), demoCommand())
	return strict(c)
}
