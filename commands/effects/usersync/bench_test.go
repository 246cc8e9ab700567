package usersync

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"docket/domain/directory"
	"docket/eventstore"
	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
	"docket/internal/keyring"
	"docket/internal/userdir"
	"docket/internal/userdir/slapdtest"
	"docket/internal/vault"

	"github.com/stretchr/testify/require"
)

// benchUsers are synchronised by the benchmarks, in 100 groups, each user in two.
const (
	benchUsers  = 10_000
	benchGroups = 100
)

func groupsOf(i int) []int { return []int{i % benchGroups, (i * 7) % benchGroups} }

// BenchmarkSync synchronises 10,000 users with the event store that a laptop has,
// personal data encrypted as in service: when nobody is known, and when nothing has
// changed.
func BenchmarkSync(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		benchmark(b, func(w *world) {
			for g := range benchGroups {
				w.source.groups = append(w.source.groups, userdir.Group{ExternalID: fmt.Sprintf("g%d", g), Name: fmt.Sprintf("Group %d", g)})
			}
			for i := range benchUsers {
				var in []string
				for _, g := range groupsOf(i) {
					in = append(in, fmt.Sprintf("g%d", g))
				}
				w.source.users = append(w.source.users, person(fmt.Sprintf("u%05d", i), in...))
			}
		})
	})
	b.Run("slapd", func(b *testing.B) {
		var ldif strings.Builder
		members := make([][]string, benchGroups)
		for i := range benchUsers {
			uid := fmt.Sprintf("u%05d", i)
			ldif.WriteString(slapdtest.Person(uid, "First", uid))
			for n, g := range groupsOf(i) {
				if n == 0 || g != i%benchGroups {
					members[g] = append(members[g], slapdtest.DN(uid))
				}
			}
		}
		for g, m := range members {
			if len(m) > 0 {
				ldif.WriteString(slapdtest.GroupOf(fmt.Sprintf("Group %d", g), m...))
			}
		}
		slapd := slapdtest.Start(b, slapdtest.Options{LDIF: ldif.String()})
		benchmark(b, func(w *world) {
			settings := userdir.Settings{Kind: userdir.LDAP, Host: slapd.Host, Port: slapd.Port, BindName: slapdtest.Reader, Password: slapdtest.Password}
			w.open = func(userdir.Settings) userdir.Source {
				return userdir.Open(settings, userdir.Options{RootCAs: slapd.Authority})
			}
		})
	})
}

func benchmark(b *testing.B, fill func(w *world)) {
	var first, again time.Duration
	runs := 0
	for b.Loop() {
		b.StopTimer()
		w := newWorldOn(b, benchLog(b))
		secrets, err := vault.New(make([]byte, vault.KeySize))
		require.NoError(b, err)
		ring, err := keyring.Open(b.Context(), w.pool, secrets)
		require.NoError(b, err)
		w.codec = w.codec.WithProtection(ring)
		w.Config.batchSize, w.waiting = 0, 20*time.Minute
		fill(w)
		w.start()
		b.StartTimer()
		r := w.run()
		require.Equal(b, directory.Tally{Added: benchUsers}, r.Counts.Users)
		first += r.EndedAt.Sub(r.StartedAt)
		r = w.run()
		require.Equal(b, directory.Tally{Unchanged: benchUsers}, r.Counts.Users)
		again += r.EndedAt.Sub(r.StartedAt)
		runs++
		b.StopTimer()
		w.stop()
		b.StartTimer()
	}
	b.ReportMetric(first.Seconds()/float64(runs), "s/first")
	b.ReportMetric(again.Seconds()/float64(runs), "s/again")
	b.ReportMetric(0, "ns/op")
}

func benchLog(b *testing.B) eventstore.Store {
	b.Helper()
	server, err := embedded.Open(b.TempDir(), embedded.Options{})
	require.NoError(b, err)
	store, err := esdb.Open(esdb.Config{Client: server.ClientConfig(), Log: esdb.Direct(server.Log()), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, store.Close())
		require.NoError(b, server.Close())
	})
	return store
}
