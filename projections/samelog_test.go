package projections

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Read models that are further than the log say so instead of waiting for it.
func TestAnotherLogIsNotFollowed(t *testing.T) {
	b := newBench(t)
	m, id := newModel("samelog"), ids(2)
	e := b.start(nil, m.group)
	b.await(e, b.log.append(id[0], projectCreated{"Bern", id[1]}))
	e.stop()

	b.log.memoryStore = newMemoryStore()
	e = b.start(nil, m.group)
	require.Eventually(t, func() bool {
		s := e.Status(context.Background())[0]
		return s.State == Retrying && s.Retry != ""
	}, patience, 10*time.Millisecond)
	require.Contains(t, e.Status(context.Background())[0].Retry, "another log")
}
