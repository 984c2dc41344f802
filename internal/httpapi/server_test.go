package httpapi

import "testing"

func TestTheServersLimitsLeaveRoomForTheLongestRead(t *testing.T) {
	t.Parallel()
	server := NewServer("127.0.0.1:0", nil)
	if server.WriteTimeout <= maxWait+maxQuery || server.ReadTimeout <= maxQuery || server.ReadHeaderTimeout == 0 || server.IdleTimeout == 0 || server.MaxHeaderBytes != 64<<10 {
		t.Errorf("%+v", server)
	}
}
