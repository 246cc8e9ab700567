package usersync

import (
	"testing"
	"time"

	"docket/domain/directory"

	"github.com/stretchr/testify/require"
)

func TestSchedule(t *testing.T) {
	const berlin, york, howe = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
	for _, c := range []struct {
		frequency, clock, zone string
		now, want              string // UTC
	}{
		{directory.Daily, "03:30", "", "2026-05-10T03:30:00Z", "2026-05-10T03:30:00Z"},
		{directory.Daily, "03:30", "", "2026-05-10T03:29:59Z", "2026-05-09T03:30:00Z"},
		{directory.Daily, "03:30", "", "2026-01-01T00:00:00Z", "2025-12-31T03:30:00Z"},
		{directory.Daily, "03:30", berlin, "2026-05-10T12:00:00Z", "2026-05-10T01:30:00Z"},
		{directory.Daily, "03:30", berlin, "2026-01-10T12:00:00Z", "2026-01-10T02:30:00Z"},
		// The day is the zone's.
		{directory.Daily, "00:30", "Pacific/Auckland", "2026-06-10T13:00:00Z", "2026-06-10T12:30:00Z"},
		// Berlin jumps from 02:00 to 03:00 on 29 March 2026: 02:30 is at 03:30.
		{directory.Daily, "02:30", berlin, "2026-03-29T01:29:59Z", "2026-03-28T01:30:00Z"},
		{directory.Daily, "02:30", berlin, "2026-03-29T01:30:00Z", "2026-03-29T01:30:00Z"},
		{directory.Daily, "02:30", berlin, "2026-03-30T12:00:00Z", "2026-03-30T00:30:00Z"},
		{directory.Daily, "03:00", berlin, "2026-03-29T12:00:00Z", "2026-03-29T01:00:00Z"},
		{directory.Daily, "01:59", berlin, "2026-03-29T12:00:00Z", "2026-03-29T00:59:00Z"},
		// and back from 03:00 to 02:00 on 25 October: the first 02:30 counts, once.
		{directory.Daily, "02:30", berlin, "2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z"},
		{directory.Daily, "02:30", berlin, "2026-10-25T01:45:00Z", "2026-10-25T00:30:00Z"},
		{directory.Daily, "02:30", berlin, "2026-10-25T23:00:00Z", "2026-10-25T00:30:00Z"},
		{directory.Daily, "03:00", berlin, "2026-10-25T12:00:00Z", "2026-10-25T02:00:00Z"},
		{directory.Daily, "02:30", york, "2026-03-08T12:00:00Z", "2026-03-08T07:30:00Z"},
		{directory.Daily, "01:30", york, "2026-11-01T12:00:00Z", "2026-11-01T05:30:00Z"},
		// Lord Howe moves by half an hour.
		{directory.Daily, "02:15", howe, "2026-10-04T00:00:00Z", "2026-10-03T15:45:00Z"},
		{directory.Weekly, "03:30", "", "2026-05-11T03:30:00Z", "2026-05-11T03:30:00Z"}, // a Monday
		{directory.Weekly, "03:30", "", "2026-05-11T03:29:00Z", "2026-05-04T03:30:00Z"},
		{directory.Weekly, "03:30", "", "2026-05-17T23:00:00Z", "2026-05-11T03:30:00Z"},
		{directory.Monthly, "03:30", "", "2026-03-31T23:00:00Z", "2026-03-01T03:30:00Z"},
		{directory.Monthly, "03:30", "", "2026-03-01T03:00:00Z", "2026-02-01T03:30:00Z"},
		{directory.Monthly, "00:00", berlin, "2026-02-28T22:59:00Z", "2026-01-31T23:00:00Z"},
		{directory.Monthly, "00:00", berlin, "2026-02-28T23:00:00Z", "2026-02-28T23:00:00Z"},
		{directory.Hourly, "03:15", "", "2026-05-10T12:15:59Z", "2026-05-10T12:15:00Z"},
		{directory.Hourly, "03:15", "", "2026-05-10T12:14:59Z", "2026-05-10T11:15:00Z"},
		{directory.Hourly, "00:15", "Asia/Kolkata", "2026-05-10T12:00:00Z", "2026-05-10T11:45:00Z"},
		// Each hour of the night in which the clock goes back has its run.
		{directory.Hourly, "00:30", berlin, "2026-10-25T00:45:00Z", "2026-10-25T00:30:00Z"},
		{directory.Hourly, "00:30", berlin, "2026-10-25T01:45:00Z", "2026-10-25T01:30:00Z"},
		{directory.Hourly, "00:30", berlin, "2026-03-29T01:45:00Z", "2026-03-29T01:30:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		require.NoError(t, err)
		at, ok := Schedule{c.frequency, c.clock, c.zone}.Last(now)
		require.True(t, ok)
		require.Equal(t, c.want, at.UTC().Format(time.RFC3339), "%s %s %s at %s", c.frequency, c.clock, c.zone, c.now)
	}
	for _, bad := range []Schedule{{}, {directory.Daily, "25:00", ""}, {directory.Daily, "03:00", "Nowhere/Land"}, {"Yearly", "03:00", ""}} {
		_, ok := bad.Last(time.Now())
		require.False(t, ok, "%v", bad)
	}
}

// Walking through a year, a daily schedule is due once a day.
func TestDailyIsDueOnceADay(t *testing.T) {
	for _, zone := range []string{"", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago"} {
		for _, clock := range []string{"00:00", "00:30", "02:15"} {
			s := Schedule{directory.Daily, clock, zone}
			begin := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
			last, _ := s.Last(begin)
			days := 0
			for now := begin; now.Before(begin.AddDate(1, 0, 0)); now = now.Add(150 * time.Minute) {
				at, ok := s.Last(now)
				require.True(t, ok)
				require.False(t, at.After(now))
				require.False(t, at.Before(last), "%v at %v", s, now)
				if at.After(last) {
					require.InDelta(t, 24, at.Sub(last).Hours(), 1, "%v at %v", s, now)
					days++
				}
				last = at
			}
			require.Equal(t, 365, days, "%v", s)
		}
	}
}
