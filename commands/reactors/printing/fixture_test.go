package printing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/commands"
	"docket/commands/effects"
	commanded "docket/commands/printing"
	"docket/commands/reactors"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/blob"
	"docket/internal/paper"
	"docket/internal/postgres/pgtest"
	"docket/internal/printer"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		child()
		return
	}
	pgtest.Main(m)
}

const patience = 60 * time.Second

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

var (
	org, ann         = id(0x100), id(0x110)
	hall, pull, push = id(0x130), id(0x140), id(0x141)
)

// codec knows all events.
func codec() *eventstore.Codec {
	return eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events(), printing.Events())...)
}

func newBus(store eventstore.Store) *commands.Bus {
	bus := commands.NewBus(commands.Config{Store: store, Codec: codec(), Digest: func(a, b string) string { return a + b }, Logger: slog.New(slog.DiscardHandler)})
	commanded.Register(bus)
	return bus
}

// acting is a context in which the system of org sends commands.
func acting(ctx context.Context) context.Context {
	return domain.WithActor(commands.WithRequest(ctx, commands.NewRequest("test", time.Now().UTC().Truncate(time.Microsecond))), domain.System(org))
}

// furnish makes an organization, a user, a queue of each type and a printer.
func furnish(t testing.TB, store eventstore.Store, s printing.OutputPortSettings) {
	bus := newBus(store)
	c := codec()
	put := func(stream string, e domain.Event) {
		data, err := c.Encode(e)
		require.NoError(t, err)
		_, err = store.Append(t.Context(), stream, eventstore.NoStream, []eventstore.Proposed{{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: []byte("{}")}})
		require.NoError(t, err)
	}
	put(directory.OrganizationStream(org), directory.OrganizationCreated{ID: org, Ancestors: []domain.ID{}, Name: "Org"})
	put(directory.UserStream(ann), directory.UserCreated{ID: ann, UserName: "ann", Active: true, Organizations: []domain.ID{org}})
	send(t, bus, commanded.CreateOutputPort{ID: hall, Details: commanded.OutputPortDetails{Name: to("Hall"), Address: &s.Address, Type: to(printing.Printer), Protocol: &s.Protocol,
		OutputType: &s.OutputType, IPPURL: &s.IPPURL}})
	send(t, bus, commanded.CreateInputPort{ID: pull, Details: commanded.InputPortDetails{Name: to("Pull"), Type: to(printing.Pull)}})
	send(t, bus, commanded.CreateInputPort{ID: push, Details: commanded.InputPortDetails{Name: to("Push"), Type: to(printing.Push), OutputPortID: &hall}})
}

func to[T any](v T) *T { return &v }

func send[S domain.State[S]](t testing.TB, bus *commands.Bus, cmd commands.Command[S]) S {
	t.Helper()
	result, err := commands.Send(acting(t.Context()), bus, cmd)
	require.NoError(t, err)
	return result.State
}

// world is a log, a database, a blob store and a printer.
type world struct {
	t       *testing.T
	store   *memory.Store
	pool    *pgxpool.Pool
	blobs   *blob.Folder
	printer *device
	bus     *commands.Bus
	n       uint32               // of documents
	options printing.PageOptions // of those to come
	Config  Config               // of the workers to start
}

func newWorld(t *testing.T) *world {
	t.Cleanup(func() { goleak.VerifyNone(t, goleak.IgnoreTopFunction("os/exec.(*Cmd).watchCtx")) })
	blobs, err := blob.OpenFolder(filepath.Join(t.TempDir(), "blobs"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, blobs.Close()) })
	w := &world{t: t, store: memory.New(), pool: pgtest.New(t), blobs: blobs, printer: newDevice(t)}
	w.bus = newBus(w.store)
	furnish(t, w.store, printing.OutputPortSettings{Address: w.printer.address()})
	w.Config = Config{Store: w.store, Blobs: blobs, Converter: noConverter{}, Renderer: noRenderer{}, Models: current{}, Lists: &lists{}, Logger: slog.New(slog.DiscardHandler),
		TempDir: t.TempDir(), Attempts: 3, RetryWait: time.Millisecond, DeliverWithin: 20 * time.Second}
	return w
}

// process is the engines of one process.
type process struct {
	effects *effects.Engine
	workers *Workers
	stop    func()
}

// run starts a process.
func (w *world) run() *process {
	c := w.Config
	c.Bus = newBus(w.store)
	p := &process{workers: New(c)}
	discard := slog.New(slog.DiscardHandler)
	var err error
	p.effects, err = effects.NewEngine(effects.Config{Pool: w.pool, Kinds: p.workers.Kinds(), Process: "one", Logger: discard, StopWithin: 100 * time.Millisecond})
	require.NoError(w.t, err)
	require.NoError(w.t, p.effects.Prepare(w.t.Context()))
	seeing, err := reactors.NewEngine(reactors.Config{Store: w.store, Codec: codec(), Pool: w.pool, Reactors: p.workers.Reactors(), Logger: discard})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { assert.NoError(w.t, seeing.Run(ctx)) })
	running.Go(func() { assert.NoError(w.t, p.effects.Run(ctx)) })
	p.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.t.Cleanup(p.stop)
	return p
}

// upload takes a document into a queue.
func (w *world) upload(queue domain.ID, title, content string) domain.ID {
	w.t.Helper()
	ref, err := w.blobs.Put(w.t.Context(), strings.NewReader(content))
	require.NoError(w.t, err)
	w.n++
	class, _, _ := paper.Classify("." + printing.Extension(title))
	return send(w.t, w.bus, commanded.ReceiveDocument{ID: id(0x10000 + w.n), UserID: ann, InputPortID: queue, Title: title, Convert: class == paper.Office,
		Content: printing.Blob{SHA256: ref.SHA256, Size: ref.Size}, Page: w.options}).ID
}

// release sends a document to the printer.
func (w *world) release(doc domain.ID, change ...func(*commanded.ReleaseDocument)) domain.ID {
	w.t.Helper()
	w.n++
	cmd := commanded.ReleaseDocument{ID: doc, ReleaseID: id(0x20000 + w.n), OutputPortID: hall}
	for _, c := range change {
		c(&cmd)
	}
	send(w.t, w.bus, cmd)
	return cmd.ReleaseID
}

func (w *world) document(doc domain.ID) printing.Document {
	d, _, err := commands.Load[printing.Document](w.t.Context(), w.bus, printing.DocumentStream(doc))
	require.NoError(w.t, err)
	return d
}

// becomes waits until a document has a status and is on its way nowhere.
func (w *world) becomes(doc domain.ID, status printing.Status) printing.Document {
	w.t.Helper()
	var d printing.Document
	require.Eventually(w.t, func() bool {
		d = w.document(doc)
		return d.Status == status && d.Release == nil
	}, patience, 5*time.Millisecond, "want status %d, have %+v", status, &d)
	return d
}

// events are the types of a document's events, without the area.
func events(t testing.TB, store eventstore.Store, doc domain.ID) []string {
	var types []string
	for r, err := range store.Load(context.Background(), printing.DocumentStream(doc), 0) {
		require.NoError(t, err)
		types = append(types, strings.TrimPrefix(r.Type, "printing.document-"))
	}
	return types
}

// jobs waits until no job waits or runs.
func settled(t testing.TB, pool *pgxpool.Pool, want int) {
	t.Helper()
	var done, other int
	require.Eventually(t, func() bool {
		err := pool.QueryRow(context.Background(), `select count(*) filter (where state in ('completed', 'discarded', 'cancelled')), count(*) filter (where state not in ('completed', 'discarded', 'cancelled'))
			from effects.river_job`).Scan(&done, &other)
		return err == nil && done == want && other == 0
	}, patience, 5*time.Millisecond, "jobs: %d done, %d not", &done, &other)
}

// aPDF is a document of one page.
func aPDF(text string) string {
	var b bytes.Buffer
	var offsets []int
	object := func(body string) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(offsets), body)
	}
	b.WriteString("%PDF-1.4\n")
	object("<< /Type /Catalog /Pages 2 0 R >>")
	object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>")
	object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>")
	stream := "BT /F 12 Tf 72 700 Td (" + text + ") Tj ET"
	object(fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(stream), stream))
	object("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, o := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", o)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, start)
	return b.String()
}

// device is a printer on a raw TCP port. It keeps what came whole.
type device struct {
	t        testing.TB
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	got     []string
	begun   int // connections
	atOnce  int // the most at a time
	open    int
	stalled chan struct{} // not nil: reads one byte of a document and waits
	bitten  chan struct{} // told when it has
}

func newDevice(t testing.TB) *device {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &device{t: t, listener: l, bitten: make(chan struct{}, 100)}
	d.running.Go(d.accept)
	t.Cleanup(func() {
		l.Close()
		d.goOn()
		d.running.Wait()
	})
	return d
}

func (d *device) address() string { return d.listener.Addr().String() }

func (d *device) accept() {
	for {
		c, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.running.Go(func() { d.take(c) })
	}
}

func (d *device) take(c net.Conn) {
	defer c.Close()
	d.mu.Lock()
	d.begun++
	d.open++
	d.atOnce = max(d.atOnce, d.open)
	stalled := d.stalled
	d.mu.Unlock()
	defer func() { d.mu.Lock(); d.open--; d.mu.Unlock() }()
	start := make([]byte, 1)
	if stalled != nil {
		if _, err := io.ReadFull(c, start); err != nil {
			return
		}
		d.bitten <- struct{}{}
		<-stalled
	} else {
		start = nil
	}
	content, err := io.ReadAll(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && len(content) > 0 && stalled == nil {
		d.got = append(d.got, string(start)+string(content))
	}
}

// stall makes the printer take no more than a byte of what comes.
func (d *device) stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stalled = make(chan struct{})
}

// goOn ends that.
func (d *device) goOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled != nil {
		close(d.stalled)
		d.stalled = nil
	}
}

func (d *device) printed() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}

type noConverter struct{}

func (noConverter) Convert(context.Context, string, string, string) (string, error) {
	return "", &paper.Error{Kind: paper.ErrNoConverter, Reason: "there is no LibreOffice"}
}

type noRenderer struct{}

func (noRenderer) Available() error {
	return &paper.Error{Kind: paper.ErrNoConverter, Reason: "there is no Ghostscript"}
}
func (r noRenderer) Render(context.Context, string, paper.Language, bool, string) (string, string, error) {
	return "", "", r.Available()
}

func (r noRenderer) Lay(context.Context, string, paper.Layout, string) (string, error) {
	return "", r.Available()
}

// current are read models that are never late.
type current struct{}

func (current) Await(context.Context, eventstore.Position, []string) bool { return true }

// late are read models that are.
type late struct{}

func (late) Await(context.Context, eventstore.Position, []string) bool { return false }

// lists answer what they are told.
type lists struct {
	due  [][]Due // by call
	used map[string]bool
}

func (l *lists) DueDocuments(context.Context, time.Time, int) ([]Due, error) {
	if len(l.due) == 0 {
		return nil, nil
	}
	page := l.due[0]
	l.due = l.due[1:]
	return page, nil
}

func (l *lists) ContentsInUse(context.Context, []string) (map[string]bool, error) { return l.used, nil }

// carrier is a printer library that does as it is told.
type carrier struct {
	mu   sync.Mutex
	jobs []printer.Job
	sent []string
	does func(n int, target printer.Target) (printer.Receipt, error)
}

func (c *carrier) deliver(_ context.Context, target printer.Target, job printer.Job, open printer.Source) (printer.Receipt, error) {
	content, _, err := open()
	if err != nil {
		return printer.Receipt{}, fmt.Errorf("document: %w", err)
	}
	defer content.Close()
	data, err := io.ReadAll(content)
	if err != nil {
		return printer.Receipt{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs, c.sent = append(c.jobs, job), append(c.sent, string(data))
	if c.does == nil {
		return printer.Receipt{PrinterJob: "1"}, nil
	}
	return c.does(len(c.jobs), target)
}
