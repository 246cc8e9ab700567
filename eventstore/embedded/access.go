package embedded

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// gate admits calls by user name and password. The unix socket is open: its file's permissions decide who gets there.
type gate struct{ user, password [sha256.Size]byte }

// newGate returns nil, which admits everybody, when no user is configured.
func newGate(opts Options) (*gate, error) {
	switch {
	case opts.User == "" && opts.Password == "":
		return nil, nil
	case opts.User == "" || opts.Password == "":
		return nil, errors.New("event store clients: a user needs a password and a password a user")
	case strings.Contains(opts.User, ":"):
		return nil, errors.New("event store clients: a user name cannot contain a colon")
	case opts.TLS == nil:
		return nil, errors.New("event store clients: a password needs TLS, because clients send none without it")
	}
	return &gate{sha256.Sum256([]byte(opts.User)), sha256.Sum256([]byte(opts.Password))}, nil
}

// openMethods are what clients call before they use credentials.
var openMethods = []string{"/event_store.client.gossip.", "/event_store.client.server_features."}

// admit checks the credentials of a call.
func (g *gate) admit(ctx context.Context, method string) *problem {
	if p, ok := peer.FromContext(ctx); ok && p.Addr.Network() == "unix" {
		return nil
	}
	for _, open := range openMethods {
		if strings.HasPrefix(method, open) {
			return nil
		}
	}
	given := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(given) == 0 {
		return &problem{code: codes.PermissionDenied, text: "Access Denied", trailer: metadata.Pairs("exception", "access-denied")}
	}
	if len(given) > 1 || !g.knows(given[0]) {
		return &problem{code: codes.Unauthenticated, text: "wrong user name or password"}
	}
	return nil
}

// knows compares without telling by its duration how much was right.
func (g *gate) knows(header string) bool {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "basic") {
		return false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return false
	}
	name, secret, _ := strings.Cut(string(plain), ":")
	user, password := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(user[:], g.user[:])&subtle.ConstantTimeCompare(password[:], g.password[:]) == 1
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if p := g.admit(ctx, info.FullMethod); p != nil {
		if err := grpc.SetTrailer(ctx, p.trailer); err != nil {
			return nil, err
		}
		return nil, status.Error(p.code, p.text)
	}
	return next(ctx, req)
}

func (g *gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if p := g.admit(stream.Context(), info.FullMethod); p != nil {
		if info.IsClientStream && !info.IsServerStream {
			drain(stream)
		}
		stream.SetTrailer(p.trailer)
		return p.err()
	}
	return next(srv, stream)
}

// drain reads what the client sends, for a while: one that is cut off while it sends sees the end of the stream instead
// of the reason.
func drain(stream grpc.ServerStream) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for stream.RecvMsg(&emptypb.Empty{}) == nil {
		}
	}()
	wait(time.Second, done, stream.Context().Done())
}
