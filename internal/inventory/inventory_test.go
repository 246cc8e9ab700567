package inventory

import (
	"strings"
	"testing"

	"docket/internal/httpx"

	"github.com/stretchr/testify/require"
)

func TestTablesAreWhole(t *testing.T) {
	want := map[string]int{"qalyptus": 190, "qlik": 8, "dfs": 43, "safeq": 68, "wyn": 31}
	for dialect, count := range want {
		require.Len(t, Rows(dialect), count, dialect)
		numbers := map[string]bool{}
		for _, r := range Rows(dialect) {
			require.False(t, numbers[r.N], "%s.%s stands twice", dialect, r.N)
			numbers[r.N] = true
			require.NotEmpty(t, r.Title)
			require.NotEmpty(t, r.Section)
			require.True(t, strings.HasPrefix(r.Path, "/"), r.Path)
			require.Contains(t, []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, r.Method)
			require.Contains(t, []Status{Done, Planned}, r.Status)
		}
	}
	for _, n := range []string{"2a", "2b", "43a", "43b"} {
		_, ok := Find("safeq", n)
		require.True(t, ok, n)
	}
}

func TestCheckNamesEveryDifference(t *testing.T) {
	var all []httpx.Operation
	for _, r := range Rows("qlik") {
		all = append(all, httpx.Operation{Op: httpx.Op{ID: r.N, Method: r.Method}, Dialect: "qlik", Full: r.Path})
	}
	require.Empty(t, Check("qlik", all))
	require.Empty(t, Check("qlik", append(all, httpx.Operation{Op: httpx.Op{ID: "more", Method: "GET", Extra: true}, Full: "/more"})))

	texts := func(ps []Problem) (out []string) {
		for _, p := range ps {
			out = append(out, p.String())
		}
		return out
	}
	require.Equal(t, []string{"qlik.8: done but not registered: PATCH /api/v1/groups/settings"}, texts(Check("qlik", all[:7])))
	require.Equal(t, []string{"qlik.1: registered twice"}, texts(Check("qlik", append(all, all[0]))))

	moved := append([]httpx.Operation(nil), all...)
	moved[0].Full = "/groups"
	require.Equal(t, []string{"qlik.1: registered at GET /groups, documented at GET /api/v1/groups"}, texts(Check("qlik", moved)))

	moved = append([]httpx.Operation(nil), all[:7]...)
	moved[6].Also = []string{"8", "99"}
	require.Equal(t, []string{
		"qlik.8: registered at GET /api/v1/groups/settings, documented at PATCH /api/v1/groups/settings",
		"qlik.99: registered (GET /api/v1/groups/settings) but not in the inventory",
	}, texts(Check("qlik", moved)))

	wyn := Rows("wyn")[0]
	require.Equal(t, []string{"wyn.1: registered but marked planned"},
		texts(Check("wyn", []httpx.Operation{{Op: httpx.Op{ID: "1", Method: wyn.Method}, Full: wyn.Path}})))
}
