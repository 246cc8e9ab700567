package server_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/cmd/server/servertest"
	"docket/domain/printing"

	"github.com/stretchr/testify/require"
)

// What the printing benchmarks upload: 100 KiB each, as many clients at a time.
const (
	benchDocument = 100 << 10
	benchClients  = 8
	benchDomain   = "bench.example"
)

// printSite is a Docket with a queue, a user and a key for print clients.
type printSite struct {
	*servertest.Server
	key          string
	pdf          benchPDF
	client       *http.Client
	copies, sent atomic.Int64
}

func newPrintSite(b *testing.B) *printSite {
	p := &printSite{Server: private(b), pdf: newBenchPDF(benchDocument), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchClients}}}
	b.Cleanup(p.client.CloseIdleConnections)
	p.Put("/admin/v1/accounts/"+servertest.GlobalID, object{"type": 2, "domainNames": []string{benchDomain}}).Is(http.StatusOK)
	p.key = p.Post("/admin/v1/access-keys", object{"name": "bench", "allowUnauthenticated": true, "allowUntrusted": true, "advanced": true,
		"rights": []string{"AddJob", "CardManagement", "CreateInputPort", "CreateOutputPort", "CreateUser", "ModifyUser", "ReleaseJob", "ViewInputPort", "ViewOutputPort", "ViewUser"}}).
		Is(http.StatusCreated).Map()["key"].(string)
	p.form(b, "PUT", "/users", "username", "ada")
	p.form(b, "POST", "/users/ada/cards", "cardid", "CARD-1")
	p.form(b, "PUT", "/inputports", "domainname", benchDomain, "portname", "Secure", "porttype", "0")
	return p
}

// form sends a form to the SAFEQ API and expects it to go well.
func (p *printSite) form(b *testing.B, method, path string, pairs ...string) {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	answer := p.As("").Do(method, "/safeq/api/v1"+path, v.Encode(), "X-Api-Key", p.key, "Content-Type", "application/x-www-form-urlencoded").Is(http.StatusOK)
	require.EqualValues(b, 0, answer.Map()["errorCode"], "%s %s: %s", method, path, answer.Body)
}

// benchPDF is a PDF of four pages of text. A number at a fixed place makes each
// copy a content of its own: the blob store keeps equal ones once.
type benchPDF struct {
	content []byte
	at      int
}

const benchNumber = "%0000000000000000"

func newBenchPDF(size int) benchPDF {
	const pages = 4
	var out bytes.Buffer
	var offsets []int
	add := func(format string, args ...any) {
		offsets = append(offsets, out.Len())
		fmt.Fprintf(&out, "%d 0 obj\n%s\nendobj\n", len(offsets), fmt.Sprintf(format, args...))
	}
	out.WriteString("%PDF-1.4\n")
	add("<</Type/Catalog/Pages 2 0 R>>")
	add("<</Type/Pages/Count %d/Kids[4 0 R 6 0 R 8 0 R 10 0 R]>>", pages)
	add("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
	for i := range pages {
		add("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>", 2*i+5)
		text := benchPage((size - 2000) / pages)
		add("<</Length %d>>\nstream\n%s\nendstream", len(text), text)
	}
	start := out.Len()
	fmt.Fprintf(&out, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, at := range offsets {
		fmt.Fprintf(&out, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&out, "trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n", len(offsets)+1, start)
	end := "%%EOF\n"
	// What is missing is a comment, so that the file has exactly its size.
	fmt.Fprintf(&out, "%%%s\n%s", strings.Repeat("-", size-out.Len()-len(end)-2), end)
	return benchPDF{out.Bytes(), bytes.Index(out.Bytes(), []byte(benchNumber))}
}

// benchPage are a page's instructions: lines of text.
func benchPage(size int) string {
	var page strings.Builder
	page.WriteString(benchNumber + "\nBT /F1 9 Tf 40 800 Td 11 TL\n")
	for page.Len() < size-100 {
		page.WriteString("(Sales by region, every week: north 1,204; south 998; east 1,377; west 842.) Tj T*\n")
	}
	page.WriteString("ET")
	return page.String()
}

// number makes a copy one of its own.
func (d benchPDF) number(content []byte, n int64) { copy(content[d.at+1:], fmt.Sprintf("%016d", n)) }

// put uploads a document, of which nothing is held but the content given.
func (p *printSite) put(content []byte) error {
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	for name, value := range map[string]string{"username": "ada", "portname": "Secure", "title": "Sales.pdf"} {
		if err := form.WriteField(name, value); err != nil {
			return err
		}
	}
	if _, err := form.CreateFormFile("data", "sales.pdf"); err != nil {
		return err
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	length := int64(head.Len() + len(content) + len(tail))
	r, err := http.NewRequest(http.MethodPut, p.URL+"/safeq/api/v1/documents", io.MultiReader(&head, bytes.NewReader(content), strings.NewReader(tail)))
	if err != nil {
		return err
	}
	r.ContentLength = length
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("X-Api-Key", p.key)
	answer, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"uuid"`))) {
		err = fmt.Errorf("%d: %s", answer.StatusCode, body)
	}
	p.sent.Add(1)
	return err
}

// each does something with n copies of the document in as many goroutines as
// there are clients, and gives how long each took.
func (p *printSite) each(b *testing.B, n, clients int, do func(content []byte) error) []time.Duration {
	times := make([][]time.Duration, clients)
	failures := make([]error, clients)
	var next atomic.Int64
	var running sync.WaitGroup
	for c := range clients {
		running.Go(func() {
			mine := slices.Clone(p.pdf.content)
			for failures[c] == nil && next.Add(1) <= int64(n) {
				p.pdf.number(mine, p.copies.Add(1))
				start := time.Now()
				failures[c] = do(mine)
				times[c] = append(times[c], time.Since(start))
			}
		})
	}
	running.Wait()
	for _, err := range failures {
		require.NoError(b, err)
	}
	return slices.Concat(times...)
}

// none waits until the read model shows no document in a status.
func (p *printSite) none(b *testing.B, s printing.Status) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Minute); ; <-tick.C {
		var some bool
		require.NoError(b, p.Postgres().QueryRow(b.Context(), "select exists(select from rm_printing.documents where organization_id = $1 and status = $2)", servertest.GlobalID, int16(s)).Scan(&some))
		if !some {
			return
		}
		require.True(b, time.Now().Before(end), "there are documents in status %d", s)
	}
}

// have checks how many documents are in a status.
func (p *printSite) have(b *testing.B, s printing.Status, want int64) {
	var have int64
	require.NoError(b, p.Postgres().QueryRow(b.Context(), "select count(*) from rm_printing.documents where status = $1", int16(s)).Scan(&have))
	require.Equal(b, want, have)
}

// quantile gives a time in milliseconds.
func quantile(times []time.Duration, q float64) float64 {
	slices.Sort(times)
	return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000
}

// BenchmarkUpload measures uploads of PDFs of 100 KiB that are answered after the
// read model shows them, while the ones before are prepared. x-bare are uploads by
// files of the same content that are written and synced and nothing else, in the
// same run. The ready times are from the request to the event, documents/s all of
// it, from the first upload to the last document's being ready.
func BenchmarkUpload(b *testing.B) {
	p := newPrintSite(b)
	p.each(b, 4*benchClients, benchClients, p.put)
	p.none(b, printing.Received)
	b.Run(fmt.Sprintf("clients=%d", benchClients), p.uploads)
	b.Run("alone", p.uploadsAlone)
}

func (p *printSite) uploads(b *testing.B) {
	before, live := heap(), watchHeap()
	mine, children, begin := cpu(b), postgresCPU(), time.Now()
	b.ResetTimer()
	times := p.each(b, b.N, benchClients, p.put)
	took := time.Since(begin)
	b.StopTimer()
	p.none(b, printing.Received)
	all := time.Since(begin)
	mine, children = cpu(b)-mine, postgresCPU()-children
	peak, after := live(), heap()
	p.have(b, printing.Ready, p.sent.Load())
	var ready, late float64
	require.NoError(b, p.Postgres().QueryRow(b.Context(), `select percentile_cont(0.5) within group (order by ms), percentile_cont(0.99) within group (order by ms)
		from (select 1000 * extract(epoch from modified_at - created_at)::float8 as ms from rm_printing.documents where created_at >= $1) d`, begin).Scan(&ready, &late))
	bare := p.bare(b)

	rate := float64(b.N) / took.Seconds()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate, "uploads/s")
	b.ReportMetric(rate*benchDocument/1e6, "MB/s")
	b.ReportMetric(quantile(times, .5), "p50-ms")
	b.ReportMetric(quantile(times, .99), "p99-ms")
	b.ReportMetric(float64(b.N)/all.Seconds(), "documents/s")
	b.ReportMetric(ready, "ready-p50-ms")
	b.ReportMetric(late, "ready-p99-ms")
	b.ReportMetric(float64(mine.Microseconds())/1000/float64(b.N), "cpu-ms/document")
	b.ReportMetric(float64(children.Microseconds())/1000/float64(b.N), "postgres-ms/document")
	b.ReportMetric(before, "MiB-before")
	b.ReportMetric(peak, "MiB-peak")
	b.ReportMetric(after, "MiB-after")
	b.ReportMetric(rate/bare, "x-bare")
}

// bare writes and syncs as many files as were uploaded, and gives files a second.
func (p *printSite) bare(b *testing.B) float64 {
	dir := openFolder(b)
	start := time.Now()
	var n atomic.Int64
	p.each(b, b.N, benchClients, func(content []byte) error {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(n.Add(1))))
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err = f.Write(content); err == nil {
			err = f.Sync()
		}
		return err
	})
	return float64(b.N) / time.Since(start).Seconds()
}

// watchHeap follows what each collection left until it is called, and gives the
// most, in MiB.
func watchHeap() func() float64 {
	done, most := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		sample, peak := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}, 0.0
		for {
			metrics.Read(sample)
			peak = max(peak, float64(sample[0].Value.Uint64())/(1<<20))
			select {
			case <-done:
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 { close(done); return <-most }
}

// uploadsAlone measures one document after the other, each until the read model
// shows it ready.
func (p *printSite) uploadsAlone(b *testing.B) {
	ready := make([]time.Duration, 0, b.N)
	var answered []time.Duration
	for range b.N {
		start := time.Now()
		answered = append(answered, p.each(b, 1, 1, p.put)...)
		p.none(b, printing.Received)
		ready = append(ready, time.Since(start))
	}
	p.have(b, printing.Ready, p.sent.Load())
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(quantile(answered, .5), "answer-p50-ms")
	b.ReportMetric(quantile(ready, .5), "ready-p50-ms")
	b.ReportMetric(quantile(ready, .99), "ready-p99-ms")
}

// tcpSink is a printer that takes everything.
type tcpSink struct {
	address     string
	jobs, bytes atomic.Int64
}

func newTCPSink(b *testing.B) *tcpSink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	s := &tcpSink{address: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				n, _ := io.Copy(io.Discard, conn)
				s.bytes.Add(n)
				s.jobs.Add(1)
			})
		}
	})
	b.Cleanup(func() { l.Close(); running.Wait() })
	return s
}

// take sends something to the printer as it is, and waits until it closes.
func (s *tcpSink) take(content []byte) error {
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err = conn.Write(content); err != nil {
		return err
	}
	if err = conn.(*net.TCPConn).CloseWrite(); err == nil {
		_, err = io.Copy(io.Discard, conn)
	}
	return err
}

// BenchmarkCardRelease measures a card's release of 50 documents of 100 KiB that
// wait for its user, to a raw printer that takes all it gets: the median time until
// the reader has its answer, and until the read model shows all of them printed.
// x-bare is that time by the one for sending the same files one after the other.
func BenchmarkCardRelease(b *testing.B) {
	const waiting = 50
	p, sink := newPrintSite(b), newTCPSink(b)
	p.form(b, "PUT", "/outputports", "domainname", benchDomain, "portname", "Corridor", "address", sink.address, "porttype", "1", "printprotocol", "0", "ipreaderaddress", "AA-BB")
	b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
		var answered, printed, bare []time.Duration
		for range b.N {
			b.StopTimer()
			p.each(b, waiting, benchClients, p.put)
			p.none(b, printing.Received)
			p.have(b, printing.Ready, waiting)
			b.StartTimer()
			start := time.Now()
			p.As("").Get("/safeq/api/v1/card?cd=CARD-1&Mac=AA-BB", "X-Api-Key", p.key).Is(http.StatusOK)
			answered = append(answered, time.Since(start))
			p.none(b, printing.Ready)
			printed = append(printed, time.Since(start))
			b.StopTimer()
			p.have(b, printing.Printed, p.sent.Load())
			start = time.Now()
			for range waiting {
				require.NoError(b, sink.take(p.pdf.content))
			}
			bare = append(bare, time.Since(start))
			b.StartTimer()
		}
		// Once each, whole: what was sent past Docket is in it as well.
		require.Equal(b, 2*p.sent.Load(), sink.jobs.Load())
		require.GreaterOrEqual(b, sink.bytes.Load(), sink.jobs.Load()*benchDocument)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(quantile(answered, .5), "answer-ms")
		b.ReportMetric(quantile(printed, .5), "printed-ms")
		b.ReportMetric(waiting*1000/quantile(printed, .5), "documents/s")
		b.ReportMetric(quantile(printed, .5)/quantile(bare, .5), "x-bare")
	})
}
