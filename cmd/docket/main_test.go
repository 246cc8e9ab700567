package main

import (
	"os"
	"testing"

	"docket/internal/postgres/pgtest"
)

// asProgram set to 1 makes the test binary the program itself, so that tests can
// kill a real process.
const asProgram = "DOCKET_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		main()
		return
	}
	pgtest.Main(m)
}
