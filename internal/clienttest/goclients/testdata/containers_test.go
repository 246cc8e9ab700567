// This file stands in for the one of EventStore-Client-Go's tests that starts servers in containers: the servers are
// there already, and the environment says where.
package esdb_test

import (
	"os"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/goombaio/namegenerator"
)

// NAME_GENERATOR names streams; every group of tests gets the same names, and a server of its own.
var NAME_GENERATOR = namegenerator.NewNameGenerator(0)

// Container is a running server.
type Container struct{ Endpoint string }

// Close leaves the server to whoever started it.
func (*Container) Close() {}

// GetEnvOrDefault is a variable of the environment.
func GetEnvOrDefault(key, otherwise string) string {
	if v, ok := os.LookupEnv(key); ok {
		return v
	}
	return otherwise
}

// IsESDBVersion20 is asked by tests of what came later.
func IsESDBVersion20() bool { return false }

// CreateEmptyDatabase is the server at CONFORMANCE_ENDPOINT.
func CreateEmptyDatabase(t *testing.T) (*Container, *esdb.Client) {
	c := &Container{Endpoint: os.Getenv("CONFORMANCE_ENDPOINT")}
	if c.Endpoint == "" {
		t.Skip("NOT TESTED: no server at CONFORMANCE_ENDPOINT")
	}
	return c, GetClient(t, c)
}

// CreatePopulatedDatabase is the server with the publisher's test data, which tests do without when it is not there.
func CreatePopulatedDatabase(t *testing.T) (*Container, *esdb.Client) {
	c := &Container{Endpoint: os.Getenv("CONFORMANCE_POPULATED")}
	if c.Endpoint == "" {
		return nil, nil
	}
	return c, GetClient(t, c)
}

// GetClient is a new client of a server.
func GetClient(t *testing.T, c *Container) *esdb.Client {
	if GetEnvOrDefault("EVENTSTORE_INSECURE", "true") == "true" {
		return CreateClient("esdb://"+c.Endpoint+"?tls=false", t)
	}
	return CreateClient("esdb://admin:changeit@"+c.Endpoint+"?tls=true&tlsverifycert=false", t)
}

// CreateClient is a new client.
func CreateClient(conn string, t *testing.T) *esdb.Client {
	config, err := esdb.ParseConnectionString(conn)
	if err != nil {
		t.Fatal(err)
	}
	client, err := esdb.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// WaitForAdminToBeAvailable has nothing to wait for.
func WaitForAdminToBeAvailable(*testing.T, *esdb.Client) {}

// WaitForLeaderToBeElected has nothing to wait for.
func WaitForLeaderToBeElected(*testing.T, *esdb.Client) {}
