// Docket is an event-sourced backend for report distribution, managed print and
// the directory around them. See README.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"docket/cmd/server"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "docket:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use: "docket", Short: "Event-sourced backend for report distribution, managed print and the directory around them",
		Version: server.Version(), SilenceUsage: true, SilenceErrors: true,
	}
	c.AddCommand(serveCommand())
	return c
}
