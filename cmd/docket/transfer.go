package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"docket/eventstore/embedded"
	"docket/eventstore/embedded/eventlog"
	"docket/eventstore/transfer"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/spf13/cobra"
)

const transferLong = "The target must be empty, or hold a part of the same copy: a copy that broke off, or whose source has grown " +
	"since, is continued behind the target's newest event. Both logs are then read whole and compared, by count, by a hash over " +
	"every event in order, and by the metadata of all streams. Positions and times of recording are the target's own, and a " +
	"server's own streams ($...) stay behind. docs/eventstore.md says how to move a Docket."

func eventstoreExport(dir *string) *cobra.Command {
	f := &transferFlags{}
	return f.flags(&cobra.Command{
		Use: "export CONNECTION", Short: "Copy all events to an EventStoreDB, and compare", Args: cobra.ExactArgs(1),
		Long:    "Copies the events of the store in --data, served or not, to the server of a connection string.\n\n" + transferLong,
		Example: "  docket eventstore export 'esdb://admin:changeit@es1.example.com:2113,es2.example.com:2113'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStores(*dir, args[0], false, func(here, there *esdb.Client) error { return f.transfer(cmd, here, there) })
		},
	})
}

func eventstoreImport(dir *string) *cobra.Command {
	f := &transferFlags{}
	return f.flags(&cobra.Command{
		Use: "import CONNECTION", Short: "Copy all events of an EventStoreDB here, and compare", Args: cobra.ExactArgs(1),
		Long:    "Copies the events of the server of a connection string to the store in --data, which is made if there is none.\n\n" + transferLong,
		Example: "  docket eventstore import 'esdb://admin:changeit@es1.example.com:2113' --data ./events",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStores(*dir, args[0], true, func(here, there *esdb.Client) error { return f.transfer(cmd, there, here) })
		},
	})
}

type transferFlags struct{ compareOnly bool }

func (f *transferFlags) flags(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&f.compareOnly, "compare-only", false, "copy nothing, only compare")
	return c
}

func (f *transferFlags) transfer(cmd *cobra.Command, source, target *esdb.Client) error {
	out := cmd.OutOrStdout()
	if !f.compareOnly {
		start := time.Now()
		var result transfer.Result
		err := shown(cmd, "copied", func(p transfer.Progress) (err error) {
			result, err = transfer.Copy(cmd.Context(), source, target, p)
			return err
		})
		if err != nil {
			return fmt.Errorf("%w\n%d events were copied; the same command goes on from there", err, result.Copied)
		}
		how := ""
		if result.Resumed {
			how = ", continuing an earlier copy"
		}
		say(out, "%d events copied in %s%s\n", result.Copied, time.Since(start).Round(time.Millisecond), how)
	}
	var c transfer.Comparison
	err := shown(cmd, "compared", func(p transfer.Progress) (err error) {
		c, err = transfer.Compare(cmd.Context(), source, target, p)
		return err
	})
	if different := (*transfer.DifferenceError)(nil); errors.As(err, &different) {
		say(out, "%s\n", different)
		return errNoCopy
	}
	if err != nil {
		return err
	}
	say(out, "%d events on both sides, SHA-256 %s\n", c.Events, c.Hash)
	if c.Later > 0 {
		say(out, "%d events were written to the source since; the same command copies them\n", c.Later)
	}
	return nil
}

// shown runs work with a progress bar.
func shown(cmd *cobra.Command, what string, work func(transfer.Progress) error) error {
	p := newProgress(cmd.ErrOrStderr(), 10*time.Second)
	defer p.end()
	start := time.Now()
	return work(func(position, end, events uint64) {
		if p.due() {
			p.bar(position, end, fmt.Sprintf("%d events %s, %.0f/s", events, what, float64(events)/time.Since(start).Seconds()))
		}
	})
}

// withStores opens the store in a folder, through the process that serves it if there is one, and the one of a connection
// string.
func withStores(dir, connection string, create bool, work func(here, there *esdb.Client) error) (err error) {
	conf, err := esdb.ParseConnectionString(connection)
	if err != nil {
		return usage{errors.New("that is no connection string: esdb://[user:password@]host:port[,host:port...][?tls=false]")}
	}
	conf.Logger = nil // it would say again what comes back as an error
	there, err := esdb.NewClient(conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, there.Close()) }()
	here, closeHere, err := localStore(dir, create)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeHere()) }()
	return work(here, there)
}

func localStore(dir string, create bool) (*esdb.Client, func() error, error) {
	switch exists, err := eventlog.Exists(dir, nil); {
	case err != nil:
		return nil, nil, err
	case !exists && !create:
		return nil, nil, fmt.Errorf("%s: %w", dir, eventlog.ErrNoLog)
	}
	// Not synced: a copy that is killed goes on where the log then ends.
	server, err := embedded.Open(dir, embedded.Options{NoSync: true, Logger: slog.New(slog.DiscardHandler)})
	if errors.Is(err, eventlog.ErrLocked) {
		conf, err := embedded.ClientConfigOf(dir)
		if err != nil {
			return nil, nil, err
		}
		c, err := esdb.NewClient(conf)
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
	if err != nil {
		return nil, nil, explainLoss(err)
	}
	c, err := esdb.NewClient(server.ClientConfig())
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	return c, func() error { return errors.Join(c.Close(), server.Close()) }, nil
}
