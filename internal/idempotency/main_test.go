package idempotency

import (
	"testing"

	"docket/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
