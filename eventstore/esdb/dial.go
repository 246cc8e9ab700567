package esdb

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// The client hands its connection to nobody and has no batch append, so what
// is here makes one of the same configuration.

// dialWriter connects to the node that takes writes.
func dialWriter(ctx context.Context, conf client.Configuration) (*grpc.ClientConn, error) {
	if !conf.DnsDiscover && len(conf.GossipSeeds) == 0 {
		return dial(conf, conf.Address)
	}
	seeds := []string{conf.Address}
	if !conf.DnsDiscover {
		seeds = seeds[:0]
		for _, s := range conf.GossipSeeds {
			seeds = append(seeds, s.String())
		}
	}
	var errs []error
	for _, seed := range seeds {
		leader, err := askForLeader(ctx, conf, seed)
		if err == nil {
			return dial(conf, leader)
		}
		errs = append(errs, fmt.Errorf("%s: %w", seed, err))
	}
	return nil, errors.Join(errs...)
}

// dialWithin connects to a server in the same process.
func dialWithin(dial func(context.Context) (net.Conn, error)) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///embedded", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }))
}

// askForLeader asks one node of a cluster where the leader is.
func askForLeader(ctx context.Context, conf client.Configuration, seed string) (string, error) {
	conn, err := dial(conf, seed)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // nothing to lose
	ctx, cancel := context.WithTimeout(ctx, time.Duration(conf.GossipTimeout)*time.Second)
	defer cancel()
	info, err := gossip.NewGossipClient(conn).Read(ctx, &shared.Empty{})
	if err != nil {
		return "", err
	}
	for _, m := range info.GetMembers() {
		if m.GetState() == gossip.MemberInfo_Leader && m.GetIsAlive() {
			end := m.GetHttpEndPoint()
			return net.JoinHostPort(end.GetAddress(), strconv.FormatUint(uint64(end.GetPort()), 10)), nil
		}
	}
	return "", errors.New("the cluster has no leader")
}

func dial(conf client.Configuration, address string) (*grpc.ClientConn, error) {
	var options []grpc.DialOption
	if conf.KeepAliveInterval >= 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: conf.KeepAliveInterval, Timeout: conf.KeepAliveTimeout, PermitWithoutStream: true,
		}))
	}
	if conf.DisableTLS {
		return grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	}
	secure := &tls.Config{RootCAs: conf.RootCAs, InsecureSkipVerify: conf.SkipCertificateVerification} //nolint:gosec // as the operator's connection string says
	if conf.UserCertFile != "" {
		pair, err := tls.LoadX509KeyPair(conf.UserCertFile, conf.UserKeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(secure)))
	if conf.Username != "" {
		options = append(options, grpc.WithPerRPCCredentials(basicAuth(conf.Username+":"+conf.Password)))
	}
	return grpc.NewClient(address, options...)
}

// basicAuth is "user:password".
type basicAuth string

func (b basicAuth) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(b))}, nil
}

func (basicAuth) RequireTransportSecurity() bool { return true }
