package safeq_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/internal/config"
	"docket/internal/postgres"
	"docket/internal/postgres/pgtest"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

type object = map[string]any

// The benchmark's history: an account with 45 % of its documents in four
// sub-accounts, and a neighbour with 5 %; 100 users, of whom the first has a tenth
// of all; a document every few milliseconds or seconds for nearly a week, which is
// the longest range that one may ask for. DOCKET_BENCH_DOCUMENTS says how many.
const (
	benchRecords  = 2000
	benchUsers    = 100
	benchSubs     = 4
	benchDomain   = "bench.example"
	benchHeavy    = "user000"
	benchWeek     = 7 * 24 * time.Hour
	benchFilled   = benchWeek - 4*time.Hour // so that what was filled in is not too old before the end
	benchDocument = `insert into rm_printing.documents (id, organization_id, user_id, input_port_name, output_port_number, output_port_name, title, job_type, status, reason, format, size,
		total_pages, color_pages, paper_size, copies, grayscale, duplex, printer_job, content, has_content, created_at, modified_at)
	select md5('document'||i)::uuid, ($2::uuid[])[case when a < 0.5 then 1 when a < 0.95 then 2 + floor(4*random())::int else 6 end],
		($3::uuid[])[case when u < 0.1 then 1 else 2 + floor(99*random())::int end],
		'Secure', 1 + i%20, 'Printer '||1 + i%20, 'Weekly figures '||i||'.pdf', case when s < 0.9 then 'PRINT' else 'COPY' end,
		case when s < 0.9 then 1 when s < 0.95 then 2 when s < 0.98 then 3 else 4 end, '', 'application/pdf', 100000 + i%1000,
		1 + i%9, i%2, 'A4', 1, i%4 = 0, i%3, '', '', false, t, t + interval '1 min'
	from (select i, random() as a, random() as u, random() as s, $4::timestamptz + i * $5::float8 * interval '1 microsecond' as t from generate_series(1, $1::bigint) i) d`
)

// historyBench is a Docket over such a history.
type historyBench struct {
	*servertest.Server
	client     *http.Client
	pool       *pgxpool.Pool // for what is held against it: Postgres as it is
	key        string
	documents  int
	start, end time.Time
	accounts   []uuid.UUID // the account and what is below it
}

func newHistoryBench(b *testing.B) *historyBench {
	h := &historyBench{documents: 200_000, client: &http.Client{}}
	if s := os.Getenv("DOCKET_BENCH_DOCUMENTS"); s != "" {
		var err error
		h.documents, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	b.Cleanup(h.client.CloseIdleConnections)
	dir, err := os.MkdirTemp("", "docket-bench")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, os.RemoveAll(dir)) })
	require.NoError(b, os.Chmod(dir, 0o755)) // Postgres may run as another user
	pg, err := postgres.Start(b.Context(), postgres.Options{Dir: dir + "/postgres", FallbackDir: dir + "/postgres"})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, pg.Stop()) })
	h.pool, err = pgxpool.New(context.Background(), pg.URL())
	require.NoError(b, err)
	b.Cleanup(h.pool.Close)
	h.Server = servertest.Start(b, func(c *config.Config) { c.DataDir, c.PostgresURL = dir+"/data", pg.URL() })
	neighbour := h.directory(b)
	h.fill(b, neighbour)
	return h
}

// directory makes accounts and users, and gives the neighbour.
func (h *historyBench) directory(b *testing.B) uuid.UUID {
	h.account(h.Organization("bench"), benchDomain)
	within := h.Member(h.accounts[0].String(), "organizations.create", "organizations.view")
	for i := range benchSubs {
		name := fmt.Sprintf("sub%d", i)
		h.account(within.Organization(name), name+"."+benchDomain)
	}
	h.key = h.Post("/admin/v1/access-keys", object{"name": "bench", "organizationId": h.accounts[0].String(), "allowUnauthenticated": true, "allowUntrusted": true, "advanced": true,
		"rights": []string{"CreateUser", "ViewReport", "ViewUser"}}).Is(http.StatusCreated).Map()["key"].(string)
	for i := range benchUsers {
		form := url.Values{"username": {fmt.Sprintf("user%03d", i)}, "detailtype": {"11"}, "detaildata": {"Engines"}}
		answer := h.As("").Put("/safeq/api/v1/users", form.Encode(), "X-Api-Key", h.key, "X-Account-Domain", benchDomain, "Content-Type", "application/x-www-form-urlencoded")
		require.EqualValues(b, 0, answer.Is(http.StatusOK).Map()["errorCode"], "%s", answer.Body)
	}
	return uuid.MustParse(h.Organization("neighbour"))
}

// account makes an organization one of the accounts.
func (h *historyBench) account(id, domain string) {
	h.accounts = append(h.accounts, uuid.MustParse(id))
	h.Put("/admin/v1/accounts/"+id, object{"type": 2, "domainNames": []string{domain}}).Is(http.StatusOK)
}

// fill puts the documents straight into the read model. Indexes are made after,
// as a rebuild does.
func (h *historyBench) fill(b *testing.B, neighbour uuid.UUID) {
	ctx := context.Background()
	var users []uuid.UUID
	require.Eventually(b, func() bool {
		rows, err := h.pool.Query(ctx, "select id from rm_printing.users where user_name like 'user0%' order by user_name")
		require.NoError(b, err)
		users, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		require.NoError(b, err)
		return len(users) == benchUsers
	}, time.Minute, 20*time.Millisecond)
	h.start = time.Now().Add(-benchFilled).UTC().Truncate(time.Second)
	h.end = h.start.Add(benchWeek)
	rows, err := h.pool.Query(ctx, "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index where indrelid = 'rm_printing.documents'::regclass and not indisprimary")
	require.NoError(b, err)
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Definition string }])
	require.NoError(b, err)
	require.NotEmpty(b, indexes)
	exec := func(sql string, args ...any) {
		_, err := h.pool.Exec(ctx, sql, args...)
		require.NoError(b, err)
	}
	begin := time.Now()
	for _, x := range indexes {
		exec("drop index " + x.Name)
	}
	exec(benchDocument, h.documents, append(slices.Clone(h.accounts), neighbour), users, h.start, float64(benchFilled.Microseconds())/float64(h.documents))
	for _, x := range indexes {
		exec(x.Definition)
	}
	exec("vacuum analyze rm_printing.documents")
	b.Logf("%d documents filled in within %s", h.documents, time.Since(begin).Round(time.Second))
}

// historyPage is what a page says.
type historyPage struct {
	Documents     []struct{ UUID uuid.UUID }
	NextPageToken string
}

// read reads a page to its end, and gives it when it is wanted.
func (h *historyBench) read(b *testing.B, query string, into *historyPage) {
	r, err := http.NewRequest(http.MethodGet, h.URL+"/safeq/api/v1/documents/history?"+query, nil)
	require.NoError(b, err)
	r.Header.Set("X-Api-Key", h.key)
	r.Header.Set("X-Account-Domain", benchDomain)
	answer, err := h.client.Do(r)
	require.NoError(b, err)
	defer answer.Body.Close()
	if into == nil && answer.StatusCode == http.StatusOK {
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(b, err)
		return
	}
	body, err := io.ReadAll(answer.Body)
	require.NoError(b, err)
	require.Equal(b, http.StatusOK, answer.StatusCode, "%s", body)
	*into = historyPage{}
	require.NoError(b, json.Unmarshal(body, into))
}

func ids(p historyPage) (ids []uuid.UUID) {
	for _, d := range p.Documents {
		ids = append(ids, d.UUID)
	}
	return ids
}

// historyCase is a query, and the condition of the naive SQL beside account and
// time.
type historyCase struct {
	name     string
	query    url.Values
	accounts []uuid.UUID
	where    string
	args     []any
}

// naive reads a page by the usual SQL: joins and an offset.
func (h *historyBench) naive(b *testing.B, c historyCase, offset int) (ids []uuid.UUID) {
	sql := `select d.id, d.organization_id, d.user_id, u.user_name, u.full_name, d.title, d.job_type, d.status, d.reason, d.total_pages, d.color_pages, d.paper_size, d.copies, d.grayscale,
		d.duplex, d.output_port_number, d.output_port_name, d.has_content, d.created_at
		from rm_printing.documents d left join rm_printing.users u on u.id = d.user_id
		where d.organization_id = any($1::uuid[]) and d.created_at between $2 and $3` + c.where + ` order by d.created_at desc, d.id desc limit $4 offset $5`
	rows, err := h.pool.Query(context.Background(), sql, append([]any{c.accounts, h.start, h.end, benchRecords, offset}, c.args...)...)
	require.NoError(b, err)
	defer rows.Close()
	for rows.Next() {
		ids = append(ids, uuid.UUID(rows.RawValues()[0]))
	}
	require.NoError(b, rows.Err())
	return ids
}

// count is how many documents a case has.
func (h *historyBench) count(b *testing.B, c historyCase) (n int) {
	sql := `select count(*) from rm_printing.documents d left join rm_printing.users u on u.id = d.user_id
		where d.organization_id = any($1::uuid[]) and d.created_at between $2 and $3 and $4::int >= 0 and $5::int >= 0` + c.where
	require.NoError(b, h.pool.QueryRow(context.Background(), sql, append([]any{c.accounts, h.start, h.end, 0, 0}, c.args...)...).Scan(&n))
	return n
}

// deep follows the page tokens until nine tenths of the documents lie above, and
// gives the query of the page there and how many records lie above it.
func (h *historyBench) deep(b *testing.B, c historyCase, first string) (query string, above int) {
	pages := h.count(b, c) * 9 / 10 / benchRecords
	var slowest time.Duration
	var page historyPage
	query, begin := first, time.Now()
	for range pages {
		start := time.Now()
		h.read(b, query, &page)
		slowest = max(slowest, time.Since(start))
		require.Len(b, page.Documents, benchRecords)
		query, above = "pagetoken="+page.NextPageToken, above+benchRecords
	}
	if pages > 0 {
		b.Logf("%s: %d pages followed, %s each, the slowest %s", c.name, pages, (time.Since(begin) / time.Duration(pages)).Round(time.Microsecond), slowest.Round(time.Microsecond))
	}
	return query, above
}

// timed gives how long something takes.
func timed(do func()) time.Duration {
	start := time.Now()
	do()
	return time.Since(start)
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// run measures a page at the top and one deep down, over HTTP from the request to
// the end of the answer: naive/ours holds it against the SQL alone, x-first against
// the page at the top, in the same run.
func (h *historyBench) run(b *testing.B, c historyCase) {
	b.Run(c.name, func(b *testing.B) {
		c.query.Set("datestart", h.start.Format(time.RFC3339))
		c.query.Set("dateend", h.end.Format(time.RFC3339))
		c.query.Set("maxrecords", strconv.Itoa(benchRecords))
		first := c.query.Encode()
		deep, above := h.deep(b, c, first)
		b.Run("first", func(b *testing.B) { h.page(b, c, first, first, 0) })
		b.Run("deep", func(b *testing.B) { h.page(b, c, deep, first, above) })
	})
}

func (h *historyBench) page(b *testing.B, c historyCase, query, first string, above int) {
	var page historyPage
	h.read(b, query, &page)
	require.Equal(b, h.naive(b, c, above), ids(page))
	var ours, firsts []time.Duration
	for b.Loop() {
		ours = append(ours, timed(func() { h.read(b, query, nil) }))
		firsts = append(firsts, timed(func() { h.read(b, first, nil) }))
	}
	var naive []time.Duration
	for range 3 {
		naive = append(naive, timed(func() { h.naive(b, c, above) }))
	}
	our := middle(ours)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(our.Microseconds())/1000, "ms")
	b.ReportMetric(float64(middle(naive))/float64(our), "naive/ours")
	b.ReportMetric(float64(above), "records-above")
	if above > 0 {
		b.ReportMetric(float64(our)/float64(middle(firsts)), "x-first")
	}
}

// BenchmarkHistory reads pages of 2,000 records of the history: of everything that
// an account sees, of a user with a tenth of it, and of one sub-account.
func BenchmarkHistory(b *testing.B) {
	h := newHistoryBench(b)
	h.run(b, historyCase{name: "all", query: url.Values{}, accounts: h.accounts})
	h.run(b, historyCase{name: "user", query: url.Values{"username": {benchHeavy}}, accounts: h.accounts, where: " and lower(u.user_name) = lower($6)", args: []any{benchHeavy}})
	h.run(b, historyCase{name: "sub-account", query: url.Values{"domainname": {"sub0." + benchDomain}}, accounts: h.accounts[1:2]})
}
