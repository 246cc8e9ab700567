package main

import (
	"errors"
	"fmt"
	"os"

	"docket/cmd/server"
	"docket/internal/config"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Start everything: event store, Postgres, projections and all APIs", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load()
			if err != nil {
				return err
			}
			fmt.Println("Configuration (see docs/configuration.md):")
			for _, line := range c.Redacted() {
				fmt.Println("  " + line)
			}
			for _, name := range config.Unknown(os.Environ()) {
				fmt.Fprintf(os.Stderr, "warning: %s is no setting of Docket\n", name)
			}
			s, err := server.Open(cmd.Context(), c, os.Stderr)
			if err != nil {
				return explainLoss(err)
			}
			s.Announce(os.Stdout)
			return errors.Join(s.Run(cmd.Context()), s.Close())
		},
	}
}
