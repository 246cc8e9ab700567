package esdb_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"docket/eventstore"
	"docket/eventstore/embedded"
	"docket/eventstore/esdb"
)

func awaitBatch(t testing.TB, store *esdb.Store) {
	t.Helper()
	require.NoError(t, esdb.AwaitBatch(ctx, store))
}

// accepted answers an append of a batch call.
func accepted(r *streams.BatchAppendReq, position uint64) *streams.BatchAppendResp {
	return &streams.BatchAppendResp{CorrelationId: r.CorrelationId, Result: &streams.BatchAppendResp_Success_{Success: &streams.BatchAppendResp_Success{
		PositionOption: &streams.BatchAppendResp_Success_Position{Position: &shared.AllStreamPosition{CommitPosition: position, PreparePosition: position}},
	}}}
}

func refused(t *testing.T, r *streams.BatchAppendReq, code codes.Code, why proto.Message) *streams.BatchAppendResp {
	detail, err := anypb.New(why)
	require.NoError(t, err)
	return &streams.BatchAppendResp{CorrelationId: r.CorrelationId, Result: &streams.BatchAppendResp_Error{
		Error: &statuspb.Status{Code: int32(code), Message: "refused", Details: []*anypb.Any{detail}}}} //nolint:gosec // small
}

// batched is a scripted server whose batch calls answer each append as the test says; false ends the call.
func batched(t *testing.T, answer func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool)) *scripted {
	server := newScripted(t)
	server.onBatch = func(call streams.Streams_BatchAppendServer) error {
		for {
			r, err := call.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			a, goOn := answer(r)
			if a != nil {
				if err := call.Send(a); err != nil {
					return err
				}
			}
			if !goOn {
				return errors.New("broken off")
			}
		}
	}
	return server
}

func TestBatchDecides(t *testing.T) {
	var alone atomic.Int64
	wrong := false
	server := batched(t, func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool) {
		if wrong {
			return refused(t, r, codes.FailedPrecondition, &shared.WrongExpectedVersion{}), true
		}
		return accepted(r, 4711), true
	})
	server.onAppend = func(got *appended) (*streams.AppendResp, error) {
		alone.Add(1)
		return written(got, 1), nil
	}
	store := server.start(t).open(t, esdb.Deadlines{})
	awaitBatch(t, store)
	receipt, err := store.Append(ctx, "s", 6, proposed(3))
	require.NoError(t, err)
	require.Equal(t, eventstore.Receipt{Revision: 9, Position: 4711}, receipt)
	wrong = true
	_, err = store.Append(ctx, "s", 6, proposed(3))
	var revision *eventstore.WrongRevision
	require.ErrorAs(t, err, &revision)
	require.Equal(t, eventstore.WrongRevision{Stream: "s", Expected: 6}, *revision)
	require.Zero(t, alone.Load())
	require.EqualValues(t, 1, store.Stats().Batched)
}

// What a batch call leaves undecided is appended by a call of its own, the same events at the same place.
func TestBatchLeavesUndecided(t *testing.T) {
	for name, answer := range map[string]func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool){
		"broken off": func(*streams.BatchAppendReq) (*streams.BatchAppendResp, bool) { return nil, false },
		"hangs":      func(*streams.BatchAppendReq) (*streams.BatchAppendResp, bool) { return nil, true },
		"another's answer": func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool) {
			a := accepted(r, 5)
			a.CorrelationId = &shared.UUID{Value: &shared.UUID_String_{String_: uuid.NewString()}}
			return a, true
		},
		"unknown error": func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool) {
			return refused(t, r, codes.Unknown, &shared.Unknown{}), true
		},
		"timeout": func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool) {
			return refused(t, r, codes.DeadlineExceeded, &shared.Timeout{}), true
		},
		"deleted": func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool) {
			return refused(t, r, codes.FailedPrecondition, &shared.StreamDeleted{}), true
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := batched(t, answer)
			got := make(chan *appended, 1)
			server.onAppend = func(a *appended) (*streams.AppendResp, error) {
				got <- a
				return written(a, 8), nil
			}
			store := server.start(t).open(t, esdb.Deadlines{Append: 2 * time.Second})
			awaitBatch(t, store)
			events := proposed(2)
			receipt, err := store.Append(ctx, "s", 0, events)
			require.NoError(t, err)
			require.Equal(t, eventstore.Receipt{Revision: 2, Position: 8}, receipt)
			a := <-got
			for i, e := range events {
				most, least := client.UUIDAsInt64(e.ID)
				require.Equal(t, most, a.events[i].Id.GetStructured().MostSignificantBits)
				require.Equal(t, least, a.events[i].Id.GetStructured().LeastSignificantBits)
			}
			require.Zero(t, a.options.GetRevision())
			require.Zero(t, store.Stats().Batched)
		})
	}
}

// A call that broke is replaced.
func TestBatchComesBack(t *testing.T) {
	var seen atomic.Int64
	server := batched(t, func(r *streams.BatchAppendReq) (*streams.BatchAppendResp, bool) {
		return accepted(r, 7), seen.Add(1)%3 != 0
	})
	store := server.start(t).open(t, esdb.Deadlines{})
	for store.Stats().Batched < 9 {
		awaitBatch(t, store)
		_, err := store.Append(ctx, "s", 0, proposed(1))
		require.NoError(t, err)
	}
}

func TestCloseEndsBatchedAppends(t *testing.T) {
	entered := make(chan bool, 8)
	server := batched(t, func(*streams.BatchAppendReq) (*streams.BatchAppendResp, bool) { entered <- true; return nil, true })
	store := server.start(t).open(t, unhurried)
	awaitBatch(t, store)
	var all sync.WaitGroup
	for range cap(entered) {
		all.Go(func() {
			_, err := store.Append(ctx, "s", 0, proposed(1))
			if !errors.Is(err, eventstore.ErrUnavailable) {
				t.Errorf("want unavailable, got %v", err)
			}
		})
	}
	for range cap(entered) {
		<-entered
	}
	require.NoError(t, store.Close())
	all.Wait()
}

func TestManyAppendsShareOneCall(t *testing.T) {
	store := openStore(t, esdb.Config{Client: startNode(t).node.ClientConfig()})
	awaitBatch(t, store)
	const writers, each = 64, 40
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			stream := fmt.Sprint("s-", w)
			for i := range each {
				receipt, err := store.Append(ctx, stream, eventstore.Revision(3*i-1), proposed(3))
				if err != nil || receipt.Revision != eventstore.Revision(3*i+2) || receipt.Position == 0 {
					t.Errorf("append %d to %s: %+v, %v", i, stream, receipt, err)
					return
				}
			}
			if _, err := store.Append(ctx, stream, 4, proposed(1)); !errors.As(err, new(*eventstore.WrongRevision)) {
				t.Errorf("want a wrong revision, got %v", err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, writers*each, store.Stats().Batched)
	n := 0
	for _, err := range store.ReadAll(ctx, 0, eventstore.Filter{}) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 3*writers*each, n)
}

// The way to the node that takes writes is found as the client finds it: in a cluster by gossip, with TLS and a password.
func TestBatchFindsTheServer(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	for name, tc := range map[string]struct {
		opts embedded.Options
		conf func(host, port string) *client.Configuration
	}{
		"cluster": {embedded.Options{}, func(host, port string) *client.Configuration {
			c, err := client.ParseConnectionString(fmt.Sprintf("esdb://127.0.0.1:1,%s:%s?tls=false", host, port))
			require.NoError(t, err)
			return c
		}},
		"by name": {embedded.Options{}, func(host, port string) *client.Configuration {
			c, err := client.ParseConnectionString(fmt.Sprintf("esdb+discover://%s:%s?tls=false", host, port))
			require.NoError(t, err)
			return c
		}},
		"TLS and password": {embedded.Options{
			TLS: &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}, User: "admin", Password: "secret",
		}, func(host, port string) *client.Configuration {
			c, err := client.ParseConnectionString(fmt.Sprintf("esdb://admin:secret@%s:%s", host, port))
			require.NoError(t, err)
			c.RootCAs = roots
			return c
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.opts.FS, tc.opts.SocketDir, tc.opts.Addr = vfs.NewMem(), socketDir(t), "127.0.0.1:0"
			server, err := embedded.Open("log", tc.opts)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, server.Close()) })
			host, port, err := net.SplitHostPort(server.Addr().String())
			require.NoError(t, err)
			store := openStore(t, esdb.Config{Client: tc.conf(host, port)})
			for i := 0; store.Stats().Batched == 0; i++ {
				awaitBatch(t, store)
				_, err := store.Append(ctx, fmt.Sprint("s-", i), eventstore.NoStream, proposed(1))
				require.NoError(t, err)
			}
		})
	}
}
