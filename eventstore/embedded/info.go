package embedded

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// featuresServer tells clients what they may call. Clients ask it at connect, so a failed store shows there.
type featuresServer struct {
	serverfeatures.UnimplementedServerFeaturesServer
	server *Server
}

// GetSupportedMethods lists the methods in the lower case clients compare with.
func (f *featuresServer) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	if err := f.server.log.Err(); err != nil {
		return nil, f.server.status(context.Background(), err)
	}
	method := func(service, name string, features ...string) *serverfeatures.SupportedMethod {
		return &serverfeatures.SupportedMethod{ServiceName: service, MethodName: name, Features: features}
	}
	const (
		streams = "event_store.client.streams.streams"
		groups  = "event_store.client.persistent_subscriptions.persistentsubscriptions"
	)
	return &serverfeatures.SupportedMethods{
		EventStoreServerVersion: Version,
		Methods: []*serverfeatures.SupportedMethod{
			method(streams, "read", "position", "events"),
			method(streams, "append"),
			method(streams, "delete"),
			method(streams, "tombstone"),
			method(streams, "batchappend", "deadline_duration"),
			method(groups, "create", "stream", "all"),
			method(groups, "update", "stream", "all"),
			method(groups, "delete", "stream", "all"),
			method(groups, "read", "stream", "all"),
			method(groups, "getinfo", "stream", "all"),
			method(groups, "replayparked", "stream", "all"),
			method(groups, "list", "stream", "all"),
			method(groups, "restartsubsystem"),
			method("event_store.client.gossip.gossip", "read"),
			method("event_store.client.server_features.serverfeatures", "getsupportedmethods"),
		},
	}, nil
}

// gossipServer presents the node as a cluster of one leader.
type gossipServer struct {
	gossip.UnimplementedGossipServer
	server  *Server
	started time.Time
}

var instanceID = uuid.New()

// Read lists the one member.
func (g *gossipServer) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	end := g.server.advertise
	if end == nil {
		end = &gossip.EndPoint{Address: "localhost"}
	}
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		InstanceId:   structuredUUID(instanceID),
		TimeStamp:    g.started.UnixNano() / 100,
		State:        gossip.MemberInfo_Leader,
		IsAlive:      g.server.log.Err() == nil,
		HttpEndPoint: end,
	}}}, nil
}

// advertised is where clients are told to find the node. Nobody can connect to the address that means all interfaces.
func advertised(addr net.Addr, wish string) (*gossip.EndPoint, error) {
	tcp := addr.(*net.TCPAddr)
	end := &gossip.EndPoint{Address: tcp.IP.String(), Port: uint32(tcp.Port)}
	if tcp.IP.IsUnspecified() {
		end.Address = "localhost"
	}
	if wish == "" {
		return end, nil
	}
	if !strings.Contains(wish, ":") {
		end.Address = wish
		return end, nil
	}
	host, port, err := net.SplitHostPort(wish)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || host == "" {
		return nil, fmt.Errorf("event store clients cannot be told to go to %q: it is no host:port", wish)
	}
	end.Address, end.Port = host, uint32(n)
	return end, nil
}

func structuredUUID(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

// notOffered names, by service prefix, what the embedded store leaves out.
var notOffered = []struct{ prefix, what string }{
	{"/event_store.client.projections.", "server-side projections"},
	{"/event_store.client.users.", "user management"},
	{"/event_store.client.operations.", "server operations"},
	{"/event_store.client.monitoring.", "server monitoring"},
	{"/event_store.cluster.", "clustering"},
}

// unimplemented answers calls of services that are not registered.
func unimplemented(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	for _, n := range notOffered {
		if strings.HasPrefix(method, n.prefix) {
			return status.Errorf(codes.Unimplemented, "the embedded event store does not offer %s", n.what)
		}
	}
	return status.Errorf(codes.Unimplemented, "the embedded event store does not offer %s", method)
}
