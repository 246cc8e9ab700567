package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"docket/eventstore/embedded"
	"docket/eventstore/embedded/eventlog"

	"github.com/spf13/cobra"
)

func eventstoreCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "eventstore", Short: "The event store by itself: serve it to any EventStoreDB client, check, back up, move it",
		Long: "The event store that docket serve starts within itself. These commands work on its folder. serve, stats, verify and " +
			"restore need it for themselves; backup, export and import also work while it is served.",
	}
	var dir string
	c.PersistentFlags().StringVar(&dir, "data", eventsDir(), "folder of the event store")
	c.AddCommand(eventstoreServe(&dir), eventstoreStats(&dir), eventstoreVerify(&dir),
		eventstoreBackup(&dir), eventstoreRestore(&dir), eventstoreExport(&dir), eventstoreImport(&dir))
	return c
}

// eventsDir is where docket serve keeps its events.
func eventsDir() string {
	return filepath.Join(cmp.Or(os.Getenv("DOCKET_DATA_DIR"), ".docket"), "events")
}

// storeFlags are those of eventstore serve.
type storeFlags struct {
	addr, advertise, cert, key, user, passwordFile string
	acceptLoss, quiet                              bool
}

func eventstoreServe(dir *string) *cobra.Command {
	f := &storeFlags{}
	c := &cobra.Command{
		Use: "serve", Short: "Serve the event store alone, by the EventStoreDB protocol", Args: cobra.NoArgs,
		Long: "A single-node event store for the clients of EventStoreDB and KurrentDB in any language. It serves until " +
			"SIGTERM or SIGINT; what it has acknowledged is on disk. docs/eventstore.md says what it speaks and what not.",
		Example: "  docket eventstore serve --data ./events\n" +
			"  docket eventstore serve --addr 0.0.0.0:2113 --advertise es.example.com --tls-certificate es.crt --tls-key es.key --user admin --password-file secret",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := f.options(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			s, err := embedded.Open(*dir, opts)
			if err != nil {
				return explainLoss(err)
			}
			say(cmd.OutOrStdout(), "The event store in %s listens.\nConnection string: %s\n", *dir, f.connection(s.Addr()))
			select {
			case <-cmd.Context().Done():
			case <-s.Done(): // a failure; Err says which
			}
			return errors.Join(s.Err(), s.Close())
		},
	}
	c.Flags().StringVar(&f.addr, "addr", "127.0.0.1:2113", "TCP address to listen on")
	c.Flags().StringVar(&f.advertise, "advertise", "", "host or host:port that clients are told to connect to (default: the address)")
	c.Flags().StringVar(&f.cert, "tls-certificate", "", "file of the TLS certificate, PEM (default: no TLS)")
	c.Flags().StringVar(&f.key, "tls-key", "", "file of the certificate's key, PEM")
	c.Flags().StringVar(&f.user, "user", "", "user that clients log in as (default: everybody is let in)")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "file that holds the user's password")
	c.Flags().BoolVar(&f.acceptLoss, "accept-loss", false, "open a store that has lost acknowledged events")
	c.Flags().BoolVar(&f.quiet, "quiet", false, "log errors only")
	return c
}

func (f *storeFlags) options(logs io.Writer) (embedded.Options, error) {
	level := slog.LevelInfo
	if f.quiet {
		level = slog.LevelError
	}
	o := embedded.Options{
		Addr: f.addr, Advertise: f.advertise, AcceptLoss: f.acceptLoss, User: f.user,
		Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level})),
	}
	switch {
	case f.addr == "":
		return o, usage{errors.New("--addr is needed")}
	case (f.cert == "") != (f.key == ""):
		return o, usage{errors.New("--tls-certificate and --tls-key need each other")}
	case (f.user == "") != (f.passwordFile == ""):
		return o, usage{errors.New("--user and --password-file need each other")}
	case f.user != "" && f.cert == "":
		return o, usage{errors.New("--user needs --tls-certificate and --tls-key: without TLS clients send no password")}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return o, fmt.Errorf("TLS certificate: %w", err)
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	if f.passwordFile != "" {
		secret, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return o, fmt.Errorf("password: %w", err)
		}
		if o.Password = strings.TrimRight(string(secret), "\r\n"); o.Password == "" {
			return o, fmt.Errorf("password: %s is empty", f.passwordFile)
		}
	}
	return o, nil
}

// connection is what a client on this machine, or on another with --advertise, is given. The password stays out.
func (f *storeFlags) connection(addr net.Addr) string {
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if f.advertise != "" {
		if h, p, err := net.SplitHostPort(f.advertise); err == nil {
			host, port = h, p
		} else {
			host = f.advertise
		}
	}
	u := url.URL{Scheme: "esdb", Host: net.JoinHostPort(host, port), RawQuery: fmt.Sprintf("tls=%t", f.cert != "")}
	if f.user != "" {
		u.User = url.UserPassword(f.user, "PASSWORD")
	}
	return u.String()
}

// explainLoss says how a store that has lost events is opened nevertheless.
func explainLoss(err error) error {
	var loss *eventlog.LossError
	if errors.As(err, &loss) {
		return fmt.Errorf("%w (docket eventstore serve --accept-loss, once)", err)
	}
	return err
}

func eventstoreStats(dir *string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "stats", Short: "Say what is in the folder of a stopped event store", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := eventlog.Inspect(*dir, nil)
			if err != nil {
				return explainLocked(err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), statsJSON(s))
			}
			t := newTable(cmd.OutOrStdout(), "EVENTS", "STREAMS", "POSITION", "ACKNOWLEDGED", "LOG BYTES", "DISK BYTES", "OLDEST", "NEWEST")
			oldest, newest := "-", "-"
			if s.Events > 0 {
				oldest, newest = moment(s.Oldest), moment(s.Newest)
			}
			t.row(s.Events, s.Streams, s.LastPosition, s.Acknowledged, s.LogBytes, s.DiskBytes, oldest, newest)
			return t.flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func statsJSON(s eventlog.Summary) any {
	type stats struct {
		Events       uint64     `json:"events"`
		Streams      uint64     `json:"streams"`
		LastPosition uint64     `json:"lastPosition"`
		Acknowledged uint64     `json:"acknowledgedPosition"`
		LogBytes     uint64     `json:"logBytes"`
		DiskBytes    uint64     `json:"diskBytes"`
		Oldest       *time.Time `json:"oldest"`
		Newest       *time.Time `json:"newest"`
	}
	out := stats{Events: s.Events, Streams: s.Streams, LastPosition: s.LastPosition, Acknowledged: s.Acknowledged,
		LogBytes: s.LogBytes, DiskBytes: s.DiskBytes}
	if s.Events > 0 {
		out.Oldest, out.Newest = &s.Oldest, &s.Newest
	}
	return out
}

func eventstoreVerify(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Check the folder of a stopped event store, event by event", Args: cobra.NoArgs,
		Long: "Reads everything and changes nothing: checksums, the chain of events, revisions without gaps, index against log, " +
			"and whether all that was acknowledged is there. The exit code is 5 when something is wrong.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return verify(cmd, *dir)
		},
	}
}

// verify checks a folder and prints what it finds.
func verify(cmd *cobra.Command, dir string) error {
	p := newProgress(cmd.ErrOrStderr(), 10*time.Second)
	f, err := eventlog.Verify(dir, nil, func(events uint64) { p.line(false, "%d events read", events) })
	p.end()
	if err != nil {
		return explainLocked(err)
	}
	for _, problem := range f.Problems {
		say(cmd.OutOrStdout(), "%s\n", strings.Map(printable, problem))
	}
	say(cmd.OutOrStdout(), "%d events in %d streams, %d problems\n", f.Events, f.Streams, f.Count)
	if f.Count > 0 {
		return errDamaged
	}
	return nil
}

func explainLocked(err error) error {
	if errors.Is(err, eventlog.ErrLocked) {
		return fmt.Errorf("the event store is being served; stop it first: %w", err)
	}
	return err
}
