# Attaches this machine to the platform as a worker; docs/workers.md. PYTHON names another interpreter.
$env:PYTHONUTF8 = "1"
$python = if ($env:PYTHON) { @($env:PYTHON) } elseif (Get-Command py -ErrorAction SilentlyContinue) { @("py", "-3") } else { @("python") }
if (-not (Get-Command $python[0] -ErrorAction SilentlyContinue)) {
    [Console]::Error.WriteLine("attach: Python is not installed; install Python 3.11 or newer from python.org, or set PYTHON")
    exit 1
}
$arguments = @($python | Select-Object -Skip 1) + @((Join-Path $PSScriptRoot "attach")) + $args
& $python[0] @arguments
exit $LASTEXITCODE
