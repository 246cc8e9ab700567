package esdb_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"docket/eventstore"
	"docket/eventstore/esdb"
)

// scripted is a server whose answers the test decides, for what a healthy
// server does not do. Unset scripts answer as an empty, healthy one.
type scripted struct {
	streams.UnimplementedStreamsServer
	serverfeatures.UnimplementedServerFeaturesServer

	mu       sync.Mutex
	features func(ctx context.Context) error
	onAppend func(got *appended) (*streams.AppendResp, error)
	onFollow func(from *streams.ReadReq_Options, out streams.Streams_ReadServer) error
	onBatch  func(call streams.Streams_BatchAppendServer) error // unset: not offered
	head     uint64                                             // position of the newest event, 0 for none
	lookFor  func(ctx context.Context) error

	network, address string
	grpc             *grpc.Server
}

// appended is one append as the server got it.
type appended struct {
	ctx     context.Context
	options *streams.AppendReq_Options
	events  []*streams.AppendReq_ProposedMessage
}

func newScripted(t *testing.T) *scripted {
	dir, err := os.MkdirTemp("", "esdb")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return &scripted{network: "unix", address: filepath.Join(dir, "s")}
}

func (s *scripted) start(t *testing.T) *scripted {
	listener, err := net.Listen(s.network, s.address)
	require.NoError(t, err)
	s.address = listener.Addr().String()
	server := grpc.NewServer()
	streams.RegisterStreamsServer(server, s)
	serverfeatures.RegisterServerFeaturesServer(server, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(listener) }) // ends with Stop
	t.Cleanup(func() {
		server.Stop()
		wg.Wait()
	})
	s.grpc = server
	return s
}

func (s *scripted) config() *client.Configuration {
	address := s.address
	if s.network == "unix" {
		address = "unix:" + address
	}
	return &client.Configuration{Address: address, DisableTLS: true}
}

// open makes a store over the server. It is closed before the server.
func (s *scripted) open(t *testing.T, d esdb.Deadlines) *esdb.Store {
	store, err := esdb.Open(esdb.Config{Client: s.config(), Deadlines: d})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// script changes the answers.
func (s *scripted) script(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *scripted) GetSupportedMethods(ctx context.Context, _ *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	s.mu.Lock()
	features := s.features
	s.mu.Unlock()
	if features != nil {
		if err := features(ctx); err != nil {
			return nil, err
		}
	}
	return &serverfeatures.SupportedMethods{EventStoreServerVersion: "24.10.0"}, nil
}

func (s *scripted) Append(in streams.Streams_AppendServer) error {
	got := &appended{ctx: in.Context()}
	for {
		m, err := in.Recv()
		if err != nil { // io.EOF: the client has said all
			break
		}
		if o := m.GetOptions(); o != nil {
			got.options = o
			continue
		}
		got.events = append(got.events, m.GetProposedMessage())
	}
	s.mu.Lock()
	onAppend := s.onAppend
	s.mu.Unlock()
	if onAppend == nil {
		return in.SendAndClose(written(got, 100))
	}
	answer, err := onAppend(got)
	if err != nil {
		return err
	}
	return in.SendAndClose(answer)
}

func (s *scripted) BatchAppend(call streams.Streams_BatchAppendServer) error {
	if s.onBatch == nil {
		return s.UnimplementedStreamsServer.BatchAppend(call)
	}
	return s.onBatch(call)
}

func (s *scripted) Read(req *streams.ReadReq, out streams.Streams_ReadServer) error {
	s.mu.Lock()
	onFollow, head, lookFor := s.onFollow, s.head, s.lookFor
	s.mu.Unlock()
	if req.Options.GetSubscription() != nil {
		confirmation := &streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: "s"}}
		if err := out.Send(&streams.ReadResp{Content: confirmation}); err != nil {
			return err
		}
		return onFollow(req.Options, out)
	}
	if lookFor != nil {
		if err := lookFor(out.Context()); err != nil {
			return err
		}
	}
	if head == 0 {
		return nil
	}
	return out.Send(event(head))
}

// written acknowledges an append at a position, 0 for not saying which.
func written(got *appended, position uint64) *streams.AppendResp {
	var before uint64
	if r, ok := got.options.ExpectedStreamRevision.(*streams.AppendReq_Options_Revision); ok {
		before = r.Revision + 1
	}
	success := &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: before + uint64(len(got.events)) - 1},
		PositionOption:        &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}},
	}
	if position > 0 {
		success.PositionOption = &streams.AppendResp_Success_Position{
			Position: &streams.AppendResp_Position{CommitPosition: position, PreparePosition: position}}
	}
	return &streams.AppendResp{Result: &streams.AppendResp_Success_{Success: success}}
}

// event is an event at a position, of the type "p<position>".
func event(position uint64) *streams.ReadResp {
	id := uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, position))
	most, least := client.UUIDAsInt64(id)
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: &streams.ReadResp_ReadEvent_RecordedEvent{
			Id:               &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{MostSignificantBits: most, LeastSignificantBits: least}}},
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("s")},
			CommitPosition:   position,
			PreparePosition:  position,
			Metadata: map[string]string{"type": fmt.Sprint("p", position), "content-type": "application/json",
				"created": strconv.FormatInt(time.Now().UnixNano()/100, 10)},
		},
	}}}
}

func checkpoint(position uint64) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: position, PreparePosition: position}}}
}

func caughtUp() *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}}
}

func proposed(n int) []eventstore.Proposed {
	events := make([]eventstore.Proposed, n)
	for i := range events {
		events[i] = eventstore.Proposed{ID: uuid.New(), Type: "made", Data: []byte(`{}`)}
	}
	return events
}
