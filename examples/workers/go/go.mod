module socketserver-worker

go 1.21
