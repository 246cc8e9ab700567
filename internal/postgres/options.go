package postgres

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Options say how the private server is run. Only Dir is required.
type Options struct {
	// Dir is the base data folder; the cluster lives in Dir/pg<major>. When
	// root starts the server and Dir is closed to the user that the server
	// runs as, the cluster lives below FallbackDir instead.
	Dir string

	// Bin is a folder with the programs postgres and initdb, or [Download].
	// Empty: DOCKET_PG_BIN, else an installed server, else the download.
	Bin string

	// CacheDir keeps downloaded servers. Empty: $XDG_CACHE_HOME/docket or the
	// system's equivalent, for root /var/cache/docket.
	CacheDir string

	// FallbackDir replaces a closed Dir. Empty: a folder below /var/lib/docket
	// named by a hash of Dir.
	FallbackDir string

	// Settings add to and override the server's settings (postgresql.conf names).
	Settings map[string]string

	// NoSync skips flushing a new cluster to disk. For throw-away clusters.
	NoSync bool

	// Logger hears of starts, stops, restarts and fallbacks. Empty: slog.Default.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Bin == "" {
		o.Bin = os.Getenv("DOCKET_PG_BIN")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// cacheDir is where downloads are kept. Root's must be open to the server's
// user, which a folder in root's home is not.
func (o Options) cacheDir() string {
	if o.CacheDir != "" {
		return o.CacheDir
	}
	if os.Geteuid() == 0 {
		return "/var/cache/docket"
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "docket")
	}
	return filepath.Join(o.Dir, "cache") // a user without a home
}

// serverSettings are those of a private server on a machine that it shares
// with the rest of the program. fsync and synchronous_commit stay on: not all
// tables can be rebuilt from the event log.
func serverSettings(socketDir string, extra map[string]string) []string {
	settings := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": socketDir,
		"unix_socket_permissions": "0700",
		"max_connections":         "200",
		"shared_buffers":          "256MB",
		"work_mem":                "16MB",
		"maintenance_work_mem":    "128MB",
		"max_wal_size":            "4GB",
		"jit":                     "off",
		"random_page_cost":        "1.1",
		// Read models are rewritten often and paged index-only, which needs
		// fresh visibility maps and estimates.
		"autovacuum_naptime":              "15s",
		"autovacuum_vacuum_scale_factor":  "0.05",
		"autovacuum_analyze_scale_factor": "0.02",
		"autovacuum_vacuum_cost_limit":    "1000",
		// The log must not hold people's data, so no failed statements: neither
		// their text nor their messages, which quote values. The client has both.
		"log_min_messages":        "log",
		"log_min_error_statement": "panic",
		"log_error_verbosity":     "terse",
		"log_line_prefix":         "%m [%p] ",
		"log_timezone":            "UTC",
		"timezone":                "UTC",
		"lc_messages":             "C",
		"logging_collector":       "off",
		"log_destination":         "stderr",
	}
	maps.Copy(settings, extra)
	var args []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", key+"="+settings[key])
	}
	return args
}
