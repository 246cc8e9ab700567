package printing_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/commands"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/printing"
	"docket/domain/reporting"
	"docket/eventstore"
	"docket/eventstore/memory"
	"docket/internal/postgres/pgtest"
	"docket/projections"
	projected "docket/projections/printing"
	"docket/readapi/access"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const patience = 30 * time.Second

func id(n uint32) domain.ID { return domain.WellKnownID(n) }

var (
	org, ann, doc, release = id(0x100), id(0x110), id(0x120), id(0x121)
	hall, pull             = id(0x130), id(0x140)
	start                  = time.Date(2030, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	content                = printing.Blob{SHA256: strings.Repeat("ab", 32), Size: 1234}
	made                   = printing.Blob{SHA256: strings.Repeat("cd", 32), Size: 4321}
)

// models are read models over a log of their own.
type models struct {
	*testing.T
	store *memory.Store
	codec *eventstore.Codec
	pool  *pgxpool.Pool
	*projections.Engine
}

func run(t *testing.T) *models {
	m := &models{T: t, store: memory.New(), codec: eventstore.NewCodec(slices.Concat(commands.Events(), directory.Events(), reporting.Events(), printing.Events())...), pool: pgtest.New(t)}
	var err error
	m.Engine, err = projections.NewEngine(projections.Config{Store: m.store, Codec: m.codec, Pool: m.pool, Groups: []*projections.Group{projected.Group()}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Engine.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	return m
}

// happened appends events, each to the stream it belongs to, and waits until the
// tables show them.
func (m *models) happened(stream string, events ...domain.Event) {
	m.Helper()
	revision := eventstore.NoStream
	for r, err := range m.store.Load(m.Context(), stream, 0) {
		require.NoError(m, err)
		revision = r.Revision
	}
	var proposed []eventstore.Proposed
	var types []string
	for _, e := range events {
		data, err := m.codec.Encode(e)
		require.NoError(m, err)
		proposed = append(proposed, eventstore.Proposed{ID: uuid.New(), Type: e.EventType(), Data: data, Meta: []byte("{}")})
		types = append(types, e.EventType())
	}
	receipt, err := m.store.Append(m.Context(), stream, revision, proposed)
	require.NoError(m, err)
	ctx, cancel := context.WithTimeout(m.Context(), patience)
	defer cancel()
	require.True(m, m.Await(ctx, receipt.Position, types), "%+v", m.Status(ctx))
}

// row reads the only row of a query into a struct.
func row[R any](m *models, sql string, args ...any) R {
	m.Helper()
	rows, err := m.pool.Query(m.Context(), sql, args...)
	require.NoError(m, err)
	r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[R])
	require.NoError(m, err)
	return r
}

func (m *models) document() projected.DocumentRow {
	m.Helper()
	r := row[projected.DocumentRow](m, "select * from rm_printing.documents where id = $1", doc)
	r.CreatedAt, r.ModifiedAt = r.CreatedAt.UTC(), r.ModifiedAt.UTC()
	return r
}

func port() printing.OutputPortCreated {
	return printing.OutputPortCreated{ID: hall, Number: 7, OrganizationID: org, Name: "Hall", CreatedAt: start, Settings: printing.OutputPortSettings{Address: "P.Example", Type: printing.Printer,
		ServiceIDs: []int32{1, 2}, Vendor: "hp", Protocol: printing.IPP, OutputType: printing.PCL6, IPReaderAddress: "AA:BB", Serial: "SN", EmbeddedConfig: 3}}
}

func received() printing.DocumentReceived {
	return printing.DocumentReceived{ID: doc, OrganizationID: org, UserID: ann, InputPortID: pull, Title: "a.pdf", Extension: "pdf", Content: content,
		Options: printing.JobOptions{Copies: 2, Duplex: printing.LongEdge}, At: start}
}

func at(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }

func TestPorts(t *testing.T) {
	m := run(t)
	m.happened(printing.OutputPortStream(hall), port())
	r := row[projected.OutputPortRow](m, "select * from rm_printing.output_ports")
	require.Equal(t, "p.example/aa:bb/sn/hall", strings.Join([]string{r.AddressF, r.IPReaderAddressF, r.SerialF, r.NameF}, "/"))
	require.Equal(t, []int32{1, 2}, r.ServiceIDs)
	require.Equal(t, []any{int32(7), int16(1), int16(1), int16(3), int32(3), "hp"}, []any{r.Number, r.Type, r.Protocol, r.OutputType, r.EmbeddedConfig, r.Vendor})
	m.happened(printing.OutputPortStream(hall), printing.OutputPortChanged{ID: hall, Name: "Lab", Settings: printing.OutputPortSettings{ServiceIDs: []int32{}}, At: at(1)})
	r = row[projected.OutputPortRow](m, "select * from rm_printing.output_ports")
	require.Equal(t, "Lab", r.Name)
	require.Empty(t, r.Serial)
	require.True(t, r.ModifiedAt.Equal(at(1)))

	m.happened(printing.InputPortStream(pull), printing.InputPortCreated{ID: pull, Number: 3, OrganizationID: org, Name: "Follow", Settings: printing.InputPortSettings{Flags: 1, LocationID: 2}, CreatedAt: start})
	q := row[projected.InputPortRow](m, "select * from rm_printing.input_ports")
	require.Equal(t, []any{int32(3), "Follow", int64(1), int32(2), (*domain.ID)(nil)}, []any{q.Number, q.Name, q.Flags, q.LocationID, q.OutputPortID})
	m.happened(printing.InputPortStream(pull), printing.InputPortChanged{ID: pull, Name: "Direct", Settings: printing.InputPortSettings{Type: printing.Push, OutputPortID: &hall}, At: at(1)})
	q = row[projected.InputPortRow](m, "select * from rm_printing.input_ports")
	require.Equal(t, []any{"Direct", int16(1), hall}, []any{q.Name, q.Type, *q.OutputPortID})

	m.happened(printing.OutputPortStream(hall), printing.OutputPortDeleted{ID: hall, At: at(2)})
	m.happened(printing.InputPortStream(pull), printing.InputPortDeleted{ID: pull, At: at(2)})
	for _, table := range []string{"output_ports", "input_ports"} {
		require.Zero(t, row[struct{ N int }](m, "select count(*) as n from rm_printing."+table).N)
	}
}

// TestDocument follows a document through its life, and checks that the row says
// what the folded state says.
func TestDocument(t *testing.T) {
	m := run(t)
	m.happened(printing.OutputPortStream(hall), port())
	m.happened(printing.InputPortStream(pull), printing.InputPortCreated{ID: pull, Number: 3, OrganizationID: org, Name: "Follow", CreatedAt: start})
	var state printing.Document
	step := func(events ...domain.Event) projected.DocumentRow {
		t.Helper()
		m.happened(printing.DocumentStream(doc), events...)
		state = domain.Fold(state, events...)
		r := m.document()
		require.Equal(t, []any{int16(state.Status), state.Reason, state.Format, state.TotalPages, state.ColorPages, state.PaperSize, state.Options, state.Status.HasContent(), state.ModifiedAt, state.CreatedAt},
			[]any{r.Status, r.Reason, r.Format, r.TotalPages, r.ColorPages, r.PaperSize, printing.JobOptions{Copies: r.Copies, Grayscale: r.Grayscale, Duplex: printing.Duplex(r.Duplex)}, r.HasContent, r.ModifiedAt, r.CreatedAt})
		require.Equal(t, state.Releasing(), r.Release != nil)
		if r.Content != "" {
			require.Equal(t, state.Content.SHA256, r.Content)
			require.Equal(t, state.Content.Size, r.Size)
		}
		require.Equal(t, state.Status.HasContent(), r.Content != "")
		return r
	}
	r := step(with(received(), func(e *printing.DocumentReceived) { e.Convert = true }))
	require.Equal(t, []any{"Follow", "PRINT", "a.pdf", ann, org}, []any{r.InputPortName, r.JobType, r.Title, r.UserID, r.OrganizationID})
	step(printing.DocumentConversionStarted{ID: doc, At: at(1)})
	step(printing.DocumentReady{ID: doc, Content: made, Format: "application/pdf", TotalPages: 3, ColorPages: 1, PaperSize: "A4", At: at(2)})
	gray := printing.JobOptions{Copies: 1, Grayscale: true, Duplex: printing.ShortEdge}
	r = step(printing.DocumentReleaseRequested{ID: doc, ReleaseID: release, OutputPortID: hall, Options: gray, At: at(3)})
	require.Equal(t, []any{"Hall", int32(7), hall}, []any{r.OutputPortName, r.OutputPortNumber, *r.OutputPortID})
	step(printing.DocumentDeliveryFailed{ID: doc, ReleaseID: release, Reason: "no paper", At: at(4)})
	step(printing.DocumentReleaseRequested{ID: doc, ReleaseID: release, OutputPortID: hall, Options: gray, Retain: true, At: at(5)})
	r = step(printing.DocumentPrinted{ID: doc, ReleaseID: release, PrinterJob: "17", At: at(6)})
	require.Equal(t, "17", r.PrinterJob)
	require.Equal(t, int16(printing.Stored), r.Status)
	step(printing.DocumentReleaseRequested{ID: doc, ReleaseID: release, OutputPortID: hall, Options: gray, At: at(7)})
	// The history goes on to show the names of the time.
	m.happened(printing.OutputPortStream(hall), printing.OutputPortDeleted{ID: hall, At: at(8)})
	r = step(printing.DocumentPrinted{ID: doc, ReleaseID: release, At: at(9)})
	require.Equal(t, "Hall", r.OutputPortName)
	require.Equal(t, int64(4321), r.Size)
}

func TestEndsOfDocuments(t *testing.T) {
	for name, end := range map[string]domain.Event{
		"deleted": printing.DocumentDeleted{ID: doc, At: at(1)}, "expired": printing.DocumentExpired{ID: doc, At: at(1)},
		"printed": printing.DocumentPrinted{ID: doc, ReleaseID: release, At: at(1)},
	} {
		t.Run(name, func(t *testing.T) {
			m := run(t)
			m.happened(printing.DocumentStream(doc), received(), printing.DocumentReleaseRequested{ID: doc, ReleaseID: release, OutputPortID: hall, At: start})
			require.NotEmpty(t, m.document().Content)
			m.happened(printing.DocumentStream(doc), end)
			r := m.document()
			require.Empty(t, r.Content)
			require.False(t, r.HasContent)
			require.Nil(t, r.Release)
		})
	}
}

func TestReportedJob(t *testing.T) {
	m := run(t)
	m.happened(printing.OutputPortStream(hall), port())
	m.happened(printing.DocumentStream(doc), printing.DocumentRecorded{ID: doc, OrganizationID: org, UserID: ann, OutputPortID: &hall, JobType: printing.Copy, TotalPages: 4, ColorPages: 2, PaperSize: "A3",
		Duplex: printing.LongEdge, DoneAt: at(-60), At: start})
	r := m.document()
	require.Equal(t, []any{"COPY", int16(printing.Printed), "Hall", int32(4), int32(1), at(-60), ""}, []any{r.JobType, r.Status, r.OutputPortName, r.TotalPages, r.Copies, r.CreatedAt, r.Content})
}

func TestOthers(t *testing.T) {
	m := run(t)
	m.happened(directory.UserStream(ann), directory.UserCreated{ID: ann, UserName: "Ann", FirstName: "Ann", LastName: "Lee"})
	require.Equal(t, projected.UserRow{ID: ann, UserName: "Ann", UserNameF: "ann", FullName: "Ann Lee"}, row[projected.UserRow](m, "select * from rm_printing.users"))
	m.happened(directory.UserStream(ann), directory.UserProfileChanged{ID: ann, UserName: "Anna", FirstName: "Anna"})
	require.Equal(t, "Anna", row[projected.UserRow](m, "select * from rm_printing.users").FullName)

	m.happened(directory.OrganizationStream(org), directory.OrganizationCreated{ID: org})
	require.Equal(t, int32(168), row[projected.AccountRow](m, "select * from rm_printing.accounts").KeepHours)
	m.happened(directory.OrganizationStream(org), directory.AccountChanged{ID: org, Settings: directory.AccountSettings{KeepHours: 5}})
	require.Equal(t, int32(5), row[projected.AccountRow](m, "select * from rm_printing.accounts").KeepHours)

	m.happened(reporting.ProjectStream(doc), reporting.ProjectPublished{ID: doc, Reports: []reporting.Report{{}, {Template: &reporting.Blob{SHA256: "aa"}}, {Template: &reporting.Blob{SHA256: "aa"}}, {Template: &reporting.Blob{SHA256: "bb"}}}})
	require.Equal(t, 2, row[struct{ N int }](m, "select count(*) as n from rm_printing.project_contents").N)
	m.happened(reporting.ProjectStream(doc), reporting.ProjectDeleted{ID: doc})
	require.Zero(t, row[struct{ N int }](m, "select count(*) as n from rm_printing.project_contents").N)
}

// TestLists asks what the timers ask.
func TestLists(t *testing.T) {
	m := run(t)
	contents := access.NewContents(m.pool)
	elsewhere := id(0x101)
	m.happened(directory.OrganizationStream(org), directory.OrganizationCreated{ID: org})
	m.happened(directory.OrganizationStream(elsewhere), directory.OrganizationCreated{ID: elsewhere}, directory.AccountChanged{ID: elsewhere, Settings: directory.AccountSettings{KeepHours: 1}})
	receive := func(n uint32, in domain.ID, age time.Duration, more ...domain.Event) domain.ID {
		e := received()
		e.ID, e.OrganizationID, e.At = id(0x2000+n), in, start.Add(-age)
		e.Content.SHA256 = fmt.Sprint("content ", n)
		m.happened(printing.DocumentStream(e.ID), append([]domain.Event{e}, more...)...)
		return e.ID
	}
	old := receive(1, org, 169*time.Hour)
	receive(2, org, 167*time.Hour)
	older := receive(3, elsewhere, 2*time.Hour)
	receive(4, elsewhere, 30*time.Minute)
	receive(5, org, 300*time.Hour, printing.DocumentExpired{At: start})
	receive(6, org, 300*time.Hour, printing.DocumentReleaseRequested{At: start})
	stuck := receive(7, org, 170*time.Hour, printing.DocumentReleaseRequested{At: start.Add(-169 * time.Hour)})
	due, err := contents.DueDocuments(t.Context(), start, 10)
	require.NoError(t, err)
	before := map[domain.ID]time.Time{}
	for _, d := range due {
		before[d.ID] = d.Before.UTC()
	}
	require.Equal(t, map[domain.ID]time.Time{old: start.Add(-168 * time.Hour), stuck: start.Add(-168 * time.Hour), older: start.Add(-time.Hour)}, before)
	due, err = contents.DueDocuments(t.Context(), start, 1)
	require.NoError(t, err)
	require.Len(t, due, 1)

	m.happened(reporting.ProjectStream(doc), reporting.ProjectPublished{ID: doc, Reports: []reporting.Report{{Template: &reporting.Blob{SHA256: "template"}}}})
	used, err := contents.ContentsInUse(t.Context(), []string{"content 1", "content 5", "content 99", "template"})
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"content 1": true, "template": true}, used)
}

// TestHistoryQueriesUseIndexes looks at the plans of what a history of many
// documents asks for: none may read more than its page, apart from its filters.
func TestHistoryQueriesUseIndexes(t *testing.T) {
	m := run(t)
	m.happened(directory.OrganizationStream(org), directory.OrganizationCreated{ID: org}) // the tables are there
	_, err := m.pool.Exec(t.Context(), `insert into rm_printing.documents
		(id, organization_id, user_id, input_port_name, output_port_number, output_port_name, title, job_type, status, reason, format, size, total_pages, color_pages, paper_size,
		 copies, grayscale, duplex, printer_job, content, has_content, created_at, modified_at)
		select gen_random_uuid(), ($1::uuid[])[1 + n % 3], ($2::uuid[])[1 + n % 50], '', 0, 'port ' || n % 100, 't', case when n % 20 = 0 then 'COPY' else 'PRINT' end,
			case when n % 500 = 0 then 0 else 1 end, '', '', 1, 1, 0, 'A4', 1, false, 0, '', case when n % 500 = 0 then n::text else '' end, n % 500 = 0,
			$3::timestamptz + n * interval '1 second', now()
		from generate_series(1, 100000) n`, []uuid.UUID{org, id(1), id(2)}, manyIDs(50), start)
	require.NoError(t, err)
	_, err = m.pool.Exec(t.Context(), "analyze rm_printing.documents")
	require.NoError(t, err)
	page := func(where string) string {
		return "select * from rm_printing.documents where " + where + " and (created_at, id) > ('2030-01-02 13:00Z', '00000000-0000-0000-0000-000000000000') and created_at < '2030-01-03 12:00Z' order by created_at, id limit 100"
	}
	for name, sql := range map[string]string{
		"account": page(fmt.Sprintf("organization_id = '%s'", org)),
		"user":    page(fmt.Sprintf("user_id = '%s'", manyIDs(1)[0])),
		"port":    page("output_port_name = 'port 7'"),
		"status":  page(fmt.Sprintf("organization_id = '%s' and status = 0", org)),
		"all":     page("true"),
		"waiting": fmt.Sprintf("select * from rm_printing.documents where user_id = '%s' and status = 0 order by created_at desc, id desc limit 50", manyIDs(1)[0]),
		"due":     fmt.Sprintf("select * from rm_printing.documents where organization_id = '%s' and has_content and created_at < '2030-01-02 13:00Z' order by created_at limit 100", org),
		"blobs":   "select content from rm_printing.documents where content <> '' and content = any('{500,1000}')",
	} {
		rows, err := m.pool.Query(t.Context(), "explain "+sql)
		require.NoError(t, err)
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		text := strings.Join(plan, "\n")
		require.NotContains(t, text, "Seq Scan", name)
		require.NotContains(t, text, "Sort", name)
	}
}

func manyIDs(n int) []uuid.UUID {
	list := make([]uuid.UUID, n)
	for i := range list {
		list[i] = id(uint32(0x1000 + i))
	}
	return list
}

// with changes an event.
func with[E any](e E, change func(*E)) E {
	change(&e)
	return e
}
