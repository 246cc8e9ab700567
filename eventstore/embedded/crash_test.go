package embedded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"docket/eventstore/embedded/eventlog"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

// The server that is killed runs in a process of its own: the test binary, told so by these variables.
const (
	crashDir  = "EMBEDDED_TEST_CRASH_DIR"
	crashAtOp = "EMBEDDED_TEST_CRASH_AT_OP" // kill yourself before this operation on files, 0 for never
)

// serveUntilKilled is the child: it serves a folder until it is killed, or until its standard input ends, which it does
// with the parent however that ends.
func serveUntilKilled(dir string) error {
	opts := Options{SocketDir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if at, err := strconv.ParseInt(os.Getenv(crashAtOp), 10, 64); err != nil {
		return err
	} else if at > 0 {
		opts.FS = killingFS(at)
	}
	s, err := Open(dir, opts)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	told := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		told <- err
	}()
	select {
	case err = <-told:
	case <-s.Done():
		err = s.Err()
	}
	return errors.Join(err, s.Close())
}

// killingFS is the disk for a process that dies before its nth operation on files: between any write, sync and rename.
func killingFS(n int64) vfs.FS {
	var ops atomic.Int64
	return errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(errorfs.Op) error {
		if ops.Add(1) < n {
			return nil
		}
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Kill()
		}
		select {} // whoever comes here does nothing any more
	}))
}

// crashKills is how often the harness kills: a few times with the other tests, as often as asked for by make test-crash.
func crashKills(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("DOCKET_TEST_KILLS"))
	if err != nil {
		return 8
	}
	return n
}

// TestCrash kills a server with kill -9 again and again while many clients write, and compares after each restart what
// was acknowledged with what is there. docs/eventstore.md describes the method.
func TestCrash(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := &crashHarness{t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 0)), model: newCrashModel(),
		readers: []*crashReader{{}, {prefix: "own-"}}}
	kills := crashKills(t)
	for h.kills < kills {
		h.round()
	}
	h.last()
	t.Log(h.summary())
}

// crashHarness is the parent.
type crashHarness struct {
	t       *testing.T
	dir     string
	rng     *rand.Rand
	model   *crashModel
	readers []*crashReader

	kills, opening, atOp, checks int
	verified                     uint64 // events
}

func (h *crashHarness) summary() string {
	m := h.model
	return fmt.Sprintf("%d kills (%d while opening; %d before an operation on files, the others after a number of answers), "+
		"%d restarts checked\nappends: %d acknowledged, %d in doubt (%d found written, %d not), %d refused; "+
		"%d deletions acknowledged\nevents: %d, verified; subscriptions delivered %d and %d of them",
		h.kills, h.opening, h.atOp, h.checks, m.acknowledged, m.foundWritten+m.foundMissing, m.foundWritten, m.foundMissing, m.refused,
		len(m.deletions), h.verified, len(h.readers[0].seen), len(h.readers[1].seen))
}

// round starts the server, checks what is there, writes, and has the server killed somewhere on the way.
func (h *crashHarness) round() {
	at, answers := int64(0), int64(math.MaxInt64)
	switch h.rng.IntN(5) {
	case 0: // among the few dozen operations of opening
		at = 1 + h.rng.Int64N(100)
	case 1: // anywhere
		at = int64(math.Exp(h.rng.Float64() * math.Log(6000)))
	default:
		answers = h.rng.Int64N(250)
	}
	c := startChild(h.t, h.dir, at)
	if c.ready() && h.check(c) {
		h.write(c, answers)
	}
	err := c.wait()
	require.EqualError(h.t, err, "signal: killed", "%s", &c.stderr)
	h.kills++
	if at > 0 {
		h.atOp++
	}
	if !c.opened {
		h.opening++
	}
	if h.kills%20 == 0 {
		h.verify()
	}
}

// last checks once more, without a kill, and then the folder.
func (h *crashHarness) last() {
	c := startChild(h.t, h.dir, 0)
	require.True(h.t, c.ready(), "%s", &c.stderr)
	require.True(h.t, h.check(c))
	require.True(h.t, h.repeat(c, func() {}))
	require.True(h.t, h.check(c))
	require.Empty(h.t, h.model.doubts)
	h.follow(c)
	require.NoError(h.t, c.stdin.Close())
	require.NoError(h.t, c.wait(), "%s", &c.stderr)
	for _, r := range h.readers {
		require.NoError(h.t, r.compare(h.model.log, true))
	}
	h.verify()
}

// verify looks into the folder as the kill left it.
func (h *crashHarness) verify() {
	f, err := eventlog.Verify(h.dir, nil, nil)
	require.NoError(h.t, err)
	require.Empty(h.t, f.Problems)
	h.verified = f.Events
}

// check compares what the server has with what it said before. It returns false when the server dies meanwhile.
func (h *crashHarness) check(c *child) bool {
	client := c.connect()
	defer client.Close()
	stream, err := client.ReadAll(c.ctx, esdb.ReadAllOptions{}, math.MaxUint64)
	found, err := all(stream, err)
	if err != nil {
		c.gone(err)
		return false
	}
	require.NoError(h.t, h.model.check(found))
	for _, r := range h.readers {
		require.NoError(h.t, r.compare(h.model.log, false))
	}
	h.checks++
	return true
}

// write settles what is in doubt and then writes with many clients, with subscriptions beside, until the server is dead.
func (h *crashHarness) write(c *child, answers int64) {
	var answered atomic.Int64
	count := func() {
		if answered.Add(1) > answers {
			c.kill()
		}
	}
	var wg sync.WaitGroup
	for _, r := range h.readers {
		wg.Go(func() { r.follow(c.ctx, c) })
	}
	defer wg.Wait()
	if !h.repeat(c, count) {
		return
	}
	for n := range 6 {
		w := newCrashWriter(h.model, n, h.rng.Uint64())
		wg.Go(func() { w.appendUntilDead(c, count) })
	}
	for n := range 2 {
		w := newCrashWriter(h.model, 6+n, h.rng.Uint64())
		wg.Go(func() { w.batchUntilDead(h.t, c, count) })
	}
}

// repeat repeats the appends that were never answered, with the same ids and expectations and in their order. It returns
// false when the server dies meanwhile.
func (h *crashHarness) repeat(c *child, count func()) bool {
	client := c.connect()
	defer client.Close()
	for _, a := range h.model.unsettled() {
		answer := tryCrashAppend(c.ctx, client, a)
		if answer.lost != nil {
			c.gone(answer.lost)
			return false
		}
		require.NoError(h.t, h.model.settle(a, answer, true))
		count()
	}
	return true
}

// follow lets the readers come to the end of the log.
func (h *crashHarness) follow(c *child) {
	var wg sync.WaitGroup
	for _, r := range h.readers {
		ctx, cancel := context.WithCancel(c.ctx)
		r.caughtUp = cancel
		wg.Go(func() { r.follow(ctx, c) })
	}
	wg.Wait()
}

// child is a server process. ctx ends with it.
type child struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	stderr bytes.Buffer
	opened bool
	exited chan error
	ctx    context.Context
}

func startChild(t *testing.T, dir string, at int64) *child {
	t.Helper()
	c := &child{t: t, dir: dir, cmd: exec.Command(os.Args[0]), exited: make(chan error, 1)}
	c.cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s=%d", crashAtOp, at))
	c.cmd.Stderr = &c.stderr
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	// The pipe is our own: Wait closes its own kind as soon as the process ends, with the last line unread.
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c.stdout, c.cmd.Stdout = r, w
	require.NoError(t, c.cmd.Start())
	require.NoError(t, w.Close())
	t.Cleanup(c.kill)
	ctx, cancel := context.WithCancel(context.Background())
	c.ctx = ctx
	go func() {
		c.exited <- c.cmd.Wait()
		cancel()
	}()
	return c
}

// ready waits until the server serves; false means that it died before.
func (c *child) ready() bool {
	defer c.stdout.(io.Closer).Close()
	c.opened = bufio.NewScanner(c.stdout).Scan()
	return c.opened
}

func (c *child) wait() error { return <-c.exited }

// gone is called with what a call ended in that got no answer. It waits for the end of the server, the only thing that
// may keep it from answering.
func (c *child) gone(err error) {
	switch rpcCode(err) {
	case codes.Unavailable, codes.Canceled, codes.Unknown: // of the connection
	default:
		c.t.Errorf("unexpected answer: %v", err)
		c.kill()
	}
	<-c.ctx.Done()
}

func (c *child) kill() { _ = c.cmd.Process.Signal(syscall.SIGKILL) }

// connect makes a client of its own for each use: one that has given up on a dead server is of no use to others.
func (c *child) connect() *esdb.Client {
	config, err := ClientConfigOf(c.dir)
	require.NoError(c.t, err)
	config.Logger = nil
	client, err := esdb.NewClient(config)
	require.NoError(c.t, err)
	return client
}

// crashReader is a consumer that keeps where it is and goes on there after each restart. What it has handled is what
// it was given, in order, over all restarts.
type crashReader struct {
	prefix   string // of stream names, "" for everything
	seen     []uint64
	at       esdb.AllPosition
	caughtUp func() // told when it is at the end
}

// follow reads until ctx or the server ends.
func (r *crashReader) follow(ctx context.Context, c *child) {
	client := c.connect()
	defer client.Close()
	opts := esdb.SubscribeToAllOptions{From: r.at}
	if r.at == nil {
		opts.From = esdb.Start{}
	}
	if r.prefix != "" {
		opts.Filter = &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{r.prefix}}
		opts.CheckpointInterval = 1
	}
	sub, err := client.SubscribeToAll(ctx, opts)
	if err != nil {
		c.gone(err)
		return
	}
	defer sub.Close()
	for {
		switch m := sub.Recv(); {
		case m.EventAppeared != nil:
			e := m.EventAppeared.OriginalEvent()
			r.seen = append(r.seen, e.Position.Commit)
			r.at = e.Position
		case m.CheckPointReached != nil:
			r.at = *m.CheckPointReached
		case m.CaughtUp != nil && r.caughtUp != nil:
			r.caughtUp()
		case m.SubscriptionDropped != nil:
			<-ctx.Done()
			return
		}
	}
}

// compare holds what the reader was given against the log.
func (r *crashReader) compare(log []crashEvent, whole bool) error {
	n := 0
	for _, e := range log {
		if len(e.stream) < len(r.prefix) || e.stream[:len(r.prefix)] != r.prefix {
			continue
		}
		if n == len(r.seen) {
			if whole {
				return fmt.Errorf("reader of %q was not given the event at %d", r.prefix, e.pos)
			}
			return nil
		}
		if r.seen[n] != e.pos {
			return fmt.Errorf("reader of %q was given %d where the log has %d", r.prefix, r.seen[n], e.pos)
		}
		n++
	}
	if n < len(r.seen) {
		return fmt.Errorf("reader of %q was given %d, which is not there", r.prefix, r.seen[n])
	}
	return nil
}

// tryCrashAppend appends through the client.
func tryCrashAppend(ctx context.Context, client *esdb.Client, a *crashAppend) crashAnswer {
	res, err := client.AppendToStream(ctx, a.stream, esdb.AppendToStreamOptions{ExpectedRevision: a.expected}, a.events...)
	switch {
	case err == nil:
		return crashAnswer{revision: res.NextExpectedVersion, position: res.CommitPosition}
	case code(err) == esdb.ErrorCodeWrongExpectedVersion:
		return crashAnswer{wrongVersion: true}
	case code(err) == esdb.ErrorCodeStreamDeleted:
		return crashAnswer{deleted: true}
	}
	return crashAnswer{lost: err}
}

func newUUID(rng *rand.Rand) uuid.UUID {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(rng.Uint32())
	}
	return id
}
